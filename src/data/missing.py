"""What to say when the files of a data set are not there."""


class MissingDataError(FileNotFoundError):
    """Files of a data set are missing.

    Args:
        problem: Which folder was looked at, and for which files.
        mend: How to get them.
    """

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}; {mend}; dataset=digits needs no files at all")
