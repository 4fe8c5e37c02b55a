"""Runs the shared scenario with one Python driver and prints one JSON line for each step.

A driver is an object with one method for each step, and with any number of methods whose names begin with `own_` for
what is special about it. A method returns what it saw, as JSON. Environment: DATABASE_URL, FIRST_NOTE (the first of a
hundred note ids that are this driver's), SHORT (set: without the own steps).
"""
import contextlib
import json
import os
import sys
import threading
import traceback

STEPS = ("read", "held", "held_in_transaction", "denied", "refused", "refused_in_transaction", "cancel", "reconnect")
URL = os.environ["DATABASE_URL"]
NOTE = int(os.environ["FIRST_NOTE"])
ENDLESS = "SELECT count(*) FROM generate_series(1, 20000000) {0}, generate_series(1, 1000) b"
TYPES = "SELECT id, a_bool, a_bigint, a_text, an_int_array, an_enum::text FROM every_type WHERE id = 1"

_texts = []


def error(caught, code, *texts):
    """The value of a step that met an error: its code is compared, its words are kept for the test to match."""
    _texts.append(" ".join(str(text) for text in (caught, *texts) if text))
    return {"error": code}


def told(*texts):
    """What the driver was told beside its answers: kept for the test to match, and not compared."""
    _texts.extend(texts)


def unexpected():
    raise AssertionError("it ran, and must not")


@contextlib.contextmanager
def repeatedly(act, seconds=0.3):
    """Does it every so often in another thread: a cancel that arrives before its query does is lost, in PostgreSQL too."""
    over = threading.Event()

    def again():
        while not over.wait(seconds):
            act()
    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(driver):
    own = [] if os.environ.get("SHORT") else sorted(name for name in dir(driver) if name.startswith("own_"))
    failed = False
    for step in [*STEPS, *own]:
        _texts.clear()
        try:
            line = {"step": step, "value": getattr(driver, step)(), "texts": list(_texts)}
        except Exception:  # whatever goes wrong in a step is its result, and the next one runs
            failed = True
            line = {"step": step, "failed": traceback.format_exc()}
        print(json.dumps(line), flush=True)
    sys.exit(1 if failed else 0)
