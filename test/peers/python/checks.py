"""Runs named checks and prints one line for each, `ok NAME` or `FAIL NAME: why`. The exit code is 1 when one failed.

A check is a function marked with @check; its docstring is its claim. Checks run in the order in which they are written.
"""
import sys
import traceback

_checks = []


def check(function):
    _checks.append(function)
    return function


def run_checks(prepare, dispose=lambda subject: None):
    """Each check gets its own subject, such as a connection, from prepare()."""
    failed = 0
    for function in _checks:
        subject = prepare()
        try:
            function(subject)
            print(f"ok {function.__doc__}", flush=True)
        except Exception:  # every kind of failure is reported and counted, then the next check runs
            failed += 1
            print(f"FAIL {function.__doc__}: {traceback.format_exc()}", flush=True)
        finally:
            dispose(subject)
    sys.exit(1 if failed else 0)


def equal(got, expected):
    if got != expected:
        raise AssertionError(f"got {got!r}, expected {expected!r}")


def contains(part, text):
    if part not in (text or ""):
        raise AssertionError(f"{part!r} is not in {text!r}")
