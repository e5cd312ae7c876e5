"""Makes `twistd pachgw`; only names the module that does the work: twistd loads every plugin."""

from twisted.application.service import ServiceMaker

pachgw = ServiceMaker(
    "pachgw",
    "pachgw.tap",
    "Serve Pachyderm's versioned file system, or an embedded one, as Amazon S3.",
    "pachgw",
)
