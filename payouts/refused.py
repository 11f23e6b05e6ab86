"""The one way in which a rule says no."""


class Refused(Exception):
    """It may not be done. `code` is for machines, the text tells how to mend it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
