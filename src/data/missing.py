"""The error for files of a data set that are not there."""


class MissingDataError(FileNotFoundError):
    """Files of a data set are missing.

    Args:
        problem: The files that are missing, and the folder where they should be.
        mend: The way to get them.
    """

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}; {mend}; dataset=digits needs no files at all")
