"""Asks a URL again and again, by new connections, until its input ends; says how often, and what failed."""

from __future__ import annotations

import json
import select
import sys
import urllib.error
import urllib.request

SECONDS_BETWEEN = 0.01
PATIENCE_SECONDS = 60

asked, failed = 0, []
print("asking", flush=True)
while not select.select([sys.stdin], [], [], SECONDS_BETWEEN)[0]:
    asked += 1
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=PATIENCE_SECONDS) as answer:
            answer.read()
    except (OSError, urllib.error.URLError) as error:
        failed.append(str(error))
print(json.dumps({"asked": asked, "failed": failed}))
