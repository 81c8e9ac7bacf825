"""A trained model in Python.

    from src.model import load

    model = load("RUN/checkpoints/last.ckpt")
    for row in model.search("hat & ~male", "folder/", k=10).rows:
        print(row["rank"], row["image"], row["score"], row["probability"])
    model.probabilities("hat | glasses", "folder/")  # (N,), in the order of the names of files

`src.retrieve` and `src.explore` stand on the same functions.
"""

from src.search.answers import Answer, Explanation, Model, Probability, load

__all__ = ["Answer", "Explanation", "Model", "Probability", "load"]
