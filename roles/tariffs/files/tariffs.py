#!/usr/bin/python3
"""The tariff service of the previous system: exchange rates over lines of TCP.

    RATE EUR    →  RATE EUR 1.0842 2026-11-01
    LIST        →  LIST CHF EUR USD
    QUIT        →  (closes)
    otherwise   →  ERROR and a reason

Usage: tariffs.py RATES-FILE PORT LOG-FILE. SIGHUP reads the rates again; a broken file changes nothing.
"""

import asyncio
import contextlib
import logging
import logging.handlers
import re
import signal
import sys
from pathlib import Path

LINE = re.compile(r"(?P<currency>[A-Z]{3}) (?P<rate>[0-9]+(\.[0-9]+)?) (?P<since>[0-9]{4}-[0-9]{2}-[0-9]{2})")
LONGEST_QUESTION = 64
IDLE_SECONDS = 30
MOST_CONNECTIONS = 200

log = logging.getLogger("tariffs")


def read_rates(path):
    """Rates by currency, each as the text that is answered.

    Raises:
        ValueError: if a line is none, with its number.
    """
    rates = {}
    for number, text in enumerate(Path(path).read_text(encoding="ascii").splitlines(), 1):
        line = text.split("#")[0].strip()
        if not line:
            continue
        match = LINE.fullmatch(line)
        if not match:
            raise ValueError(f"{path}:{number}: not 'CUR rate YYYY-MM-DD': {text!r}")
        rates[match["currency"]] = line
    if not rates:
        raise ValueError(f"{path}: no rate at all")
    return rates


class Service:
    """The rates and the conversation about them."""

    def __init__(self, path):
        self.path = path
        self.rates = read_rates(path)
        self.connections = 0

    def reload(self):
        try:
            self.rates = read_rates(self.path)
        except (OSError, ValueError) as error:
            log.error("rates kept as they were: %s", error)
        else:
            log.info("read %d rates", len(self.rates))

    def answer(self, question):
        """The answer to one line, or None to hang up."""
        command, *arguments = question.split() or [""]
        if command == "RATE" and len(arguments) == 1:
            rate = self.rates.get(arguments[0])
            return f"RATE {rate}" if rate else "ERROR unknown currency"
        if command == "LIST" and not arguments:
            return " ".join(["LIST", *sorted(self.rates)])
        if command == "QUIT" and not arguments:
            return None
        return "ERROR unknown command"

    async def converse(self, reader, writer):
        peer = writer.get_extra_info("peername")
        self.connections += 1
        try:
            if self.connections > MOST_CONNECTIONS:
                writer.write(b"ERROR busy\n")
                return
            while True:
                line = await asyncio.wait_for(reader.readline(), IDLE_SECONDS)
                if not line:
                    return
                question = line.decode("ascii", "replace").strip()
                answer = self.answer(question)
                log.info("%s %r %r", peer[0] if peer else "-", question, answer)
                if answer is None:
                    return
                writer.write(f"{answer}\n".encode("ascii"))
                await writer.drain()
        except ValueError:  # a line longer than the reader's limit
            writer.write(b"ERROR line too long\n")
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self.connections -= 1
            with contextlib.suppress(OSError):
                writer.close()


async def serve(service, port):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    server = await asyncio.start_server(service.converse, port=port, limit=LONGEST_QUESTION)
    log.info("listening on port %d with %d rates", port, len(service.rates))
    await stop.wait()
    server.close()


def main(arguments):
    rates, port, log_file = arguments
    # It opens the file again once logrotate has moved it away.
    handler = logging.handlers.WatchedFileHandler(log_file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        service = Service(rates)
    except (OSError, ValueError) as error:
        sys.exit(f"tariffs: {error}")
    asyncio.run(serve(service, int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
