"""What can go wrong before or while the flow server runs, for the person who starts it.

::

    FlowServerError           the server cannot start (port taken, no such address)
    └── FlowFileError         a flow file cannot be read or makes no sense
"""


class FlowServerError(Exception):
    """The flow server cannot start; the text is one line and names the remedy."""


class FlowFileError(FlowServerError):
    """A flow file is missing, is not TOML, or describes an impossible flow.

    ``path`` is the file, ``place`` the spot inside it (``flow[0].step[2].delay``), ``problem`` what is wrong
    there and what to write instead.
    """

    def __init__(self, path: str, place: str, problem: str) -> None:
        super().__init__(path, place, problem)
        self.path = path
        self.place = place
        self.problem = problem

    def __str__(self) -> str:
        spot = f"{self.path}: {self.place}" if self.place else self.path
        return f"{spot}: {self.problem}"
