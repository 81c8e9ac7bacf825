"""What hypothesis draws in several tests."""

from collections.abc import Sequence

from hypothesis import strategies as st


def propositions(literals: Sequence[str], max_leaves: int = 8) -> st.SearchStrategy[str]:
    """Texts of propositions over these literals, with `~`, `&` and `|`."""
    return st.recursive(
        st.sampled_from(literals),
        lambda inner: st.one_of(
            st.builds("~({})".format, inner),
            st.builds("({} & {})".format, inner, inner),
            st.builds("({} | {})".format, inner, inner),
        ),
        max_leaves=max_leaves,
    )
