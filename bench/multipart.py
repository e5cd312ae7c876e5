"""One file in parts, four at once, as SDKs send it: seconds from its beginning to the answer of the complete.

Requests are anonymous and made by curl, as in `bench.http`.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

AT_ONCE = 4


def put_in_parts(url: str, source: Path, part_bytes: int) -> float:
    """Seconds to put the file to the URL of a key; cutting it into files of parts is not counted."""
    with TemporaryDirectory(dir=source.parent) as directory:
        parts = []
        with source.open("rb") as file:
            while piece := file.read(part_bytes):
                parts.append(Path(directory, str(len(parts) + 1)))
                parts[-1].write_bytes(piece)
        begin = perf_counter()
        (upload_id,) = re.findall("<UploadId>([^<]*)<", _curl("--request", "POST", f"{url}?uploads"))

        def put(part: Path) -> str:
            target = f"{url}?partNumber={part.name}&uploadId={upload_id}"
            words = ("--header", "Expect:", "--dump-header", "-", "--upload-file", str(part))
            (etag,) = re.findall(r"(?im)^etag: (\S+)", _curl(*words, target))
            return f"<Part><PartNumber>{part.name}</PartNumber><ETag>{etag}</ETag></Part>"

        with ThreadPoolExecutor(AT_ONCE) as pool:
            listed = "".join(pool.map(put, parts))
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
        answer = _curl("--data-binary", body, f"{url}?uploadId={upload_id}")
        if "<CompleteMultipartUploadResult" not in answer:
            raise SystemExit(answer)
        return perf_counter() - begin


def _curl(*words: str) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", *words], capture_output=True, text=True, check=True
    )
    return done.stdout
