#!/usr/bin/python3
"""Every verb of dctl about events against a real Catalyst: in all formats, with JSON that goes in as
it came out, places, filters, and the rate line of a terminal."""
import json
import os
import pty
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Failed, check, dctl, main, processes, run, wait_for  # noqa: E402

EVENTS = 20
VOLATILE = {"rate", "joined_time", "address", "delivered", "redelivered", "in_flight", "consumers"}


class Broker:
    def __init__(self, running):
        self.address = running.service("catalyst").address

    def ask(self, *words, **options):
        done = dctl(self.address, *words, **options)
        if done.code != 0:
            raise Failed(f"dctl {' '.join(words)}: {done.code} {done.err}")
        return done

    def json(self, *words, **options):
        return self.ask(*words, "-o", "json", **options).json()

    def wrong(self, code, text, *words, **options):
        done = dctl(self.address, *words, **options)
        check(done.code == code and text in done.err,
              f"dctl {' '.join(words)}: exit code {done.code}, {done.err.strip()[:120]}")

    def fill(self):
        """A stream of 20 events; a group of it that acknowledged 17 and gave up three."""
        self.ask("streams", "create", "orders", "--take", "type=order.>", "--max-age", "7d")
        self.produce(range(EVENTS))
        self.ask("groups", "create", "orders/g", "--from", "earliest", "--deliveries", "1")
        self.ask("events", "consume", "orders", "--group", "g", "-n", "17")
        self.ask("events", "consume", "orders", "--group", "g", "-n", "3", "--answer", "term",
                 "--reason", "broken")
        wait_for("three dead letters", lambda: self.json("groups", "get", "orders/g")["lag"] == 0 and
                 [x["events"] for x in self.json("dlq", "list")] == [3])

    def produce(self, numbers):
        self.ask("events", "produce", "-q", stdin="".join(json.dumps(
            {"id": str(n), "source": "/shop", "type": "order.made", "subject": str(n % 2),
             "data": {"n": n}}) + "\n" for n in numbers))

    def numbers(self, *words):
        done = self.ask("events", *words, "-o", "json")
        return [json.loads(x)["event"]["data"]["n"] for x in done.out.splitlines()]


def steady(value):
    """Without what changes by itself."""
    if isinstance(value, dict):
        return {k: steady(v) for k, v in value.items() if k not in VOLATILE}
    return [steady(v) for v in value] if isinstance(value, list) else value


RUBY = """require 'psych'; require 'json'
def texts(n)
  case n
  when Psych::Nodes::Mapping then n.children.each_slice(2).to_h { |k, v| [k.value, texts(v)] }
  when Psych::Nodes::Sequence then n.children.map { |v| texts(v) }
  else n.value
  end
end
puts Psych.parse_stream(STDIN.read).children.map { |d| texts(d.root) }.to_json"""


def loaded(text):
    """YAML as Ruby's parser understands it, every value as its text."""
    done = run(["/usr/bin/ruby", "-e", RUBY], stdin=text)
    if done.code != 0:
        raise Failed(f"no YAML: {done.err.strip()[-200:]}: {text[:200]}")
    return [steady(v) for v in done.json()]


def as_text(value):
    """Like that: every value its text."""
    if isinstance(value, dict):
        return {k: as_text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_text(v) for v in value]
    return {None: "null", True: "true", False: "false"}.get(value, None) \
        if value is None or isinstance(value, bool) else str(value)


def every_verb_speaks_every_format(running):
    broker = Broker(running)
    broker.fill()
    looks = [  # (words, one line of JSON per result, what the table says)
        (("streams", "list"), False, "orders"), (("streams", "get", "orders"), False, "order.>"),
        (("groups", "list"), False, "orders/g"), (("groups", "get", "orders/g"), False, "orders"),
        (("dlq", "list"), False, "orders.g.dead"), (("dlq", "peek", "orders/g"), False, "broken"),
        (("events", "consume", "orders", "--from", "earliest", "--until-end"), True, "order.made"),
        (("events", "tail", "orders", "-l", "5", "-n", "5"), True, "order.made")]
    for words, lines, word in looks:
        table = broker.ask(*words).out
        text = broker.ask(*words, "-o", "json").out
        found = [json.loads(x) for x in text.splitlines()] if lines else [json.loads(text)]
        same = loaded(broker.ask(*words, "-o", "yaml").out)
        check(word in table and as_text([steady(v) for v in found]) == same and found,
              f"{' '.join(words)}: a table, JSON, and YAML that says the same")
    letter = broker.json("dlq", "peek", "orders/g")[0]["event"]
    check([letter[f"dead{k}"] for k in ("reason", "stream", "group", "sequence", "attempts")] ==
          ["broken", "orders", "g", "18", 1] and letter["deadfirsttime"] <= letter["deadtime"],
          "a dead letter says why, where from, after how many attempts, from when to when")
    changes = [("streams", "create", "X"), ("streams", "update", "X", "--max-events", "5"),
               ("events", "produce", "--type", "t", "--stream", "X", "{}"),
               ("streams", "purge", "X"), ("groups", "create", "X/g", "--from", "new"),
               ("groups", "update", "X/g", "--ack-wait", "5s"), ("groups", "seek", "X/g", "earliest"),
               ("groups", "delete", "X/g"), ("streams", "delete", "X"),
               ("dlq", "replay", "orders/g", "N"), ("dlq", "purge", "orders/g", "--through", "N")]
    for words in changes:
        for number, form in enumerate(("table", "json", "yaml")):
            said = [w.replace("X", f"x{number}").replace("N", str(number + 1)) for w in words]
            out = broker.ask(*said, "-o", form).out
            if form == "json":
                json.loads(out)
            elif form == "yaml":
                loaded(out)
            if not out.strip():
                raise Failed(f"{' '.join(said)} -o {form} says nothing")
        check(True, f"{' '.join(words[:2])}: says what it did in every format")
    check([s["config"]["name"] for s in broker.json("streams", "list", "x")] == [],
          "what was made for this is gone")


def what_is_printed_can_be_read_back(running):
    broker = Broker(running)
    broker.ask("streams", "create", "a", "--take", "type=order.>,source=/shop", "--take",
               "subject=eu", "--max-age", "7d", "--when-full", "refuse-new", "--durability",
               "interval", "--interval", "20ms", "--dedupe", "0", "--description", "all of it")
    printed = broker.ask("streams", "get", "a", "-o", "json").out
    made = broker.json("streams", "create", "b", "-f", "-", stdin=printed)
    expected = {**json.loads(printed)["config"], "name": "b"}
    check(made["config"] == expected, "a stream is made from what another one's description says")
    changed = broker.json("streams", "update", "b", "-f", "-", "--max-events", "9", stdin=printed)
    check(changed["config"] == {**expected, "events_max": 9}, "options count before the file")
    plain = '{"whenFull": "WHEN_FULL_REFUSE_NEW", "eventsMax": "7", "takes": [{"type": "t"}]}'
    made = broker.json("streams", "create", "c", "-f", "-", stdin=plain)["config"]
    check((made["when_full"], made["events_max"]) == ("refuse_new", 7), "and as clients write JSON")
    broker.ask("groups", "create", "a/g", "--from", "2024-01-02T03:04:05Z", "--type", "order.*",
               "--sql", "subject = 'eu'", "--ack-wait", "5s", "--backoff", "1s,2s", "--ordered",
               "--deliveries", "7", "--in-flight", "9", "--dead-letters", "graves")
    printed = broker.ask("groups", "get", "a/g", "-o", "json").out
    made = broker.json("groups", "create", "b/h", "-f", "-", stdin=printed)["config"]
    expected = {**json.loads(printed)["config"], "name": "h", "stream": "b"}
    check(made == expected and made["start"]["time"].startswith("2024-01-02T03:04:05"),
          "a group, too, with its filters, waits and beginning")
    changed = broker.json("groups", "update", "b/h", "--deliveries", "3")["config"]
    check(changed == {**expected, "deliveries_max": 3}, "an update changes what it names only")
    broker.wrong(2, "there is no field 'colour'", "streams", "create", "d", "-f", "-",
                 stdin='{"colour": "red"}')
    broker.wrong(2, "when_full", "streams", "create", "d", "-f", "-", stdin='{"when_full": "never"}')
    broker.wrong(2, "not a JSON object", "groups", "create", "d", "-f", "-", stdin="[1]")
    broker.wrong(2, "nowhere.json", "streams", "create", "d", "-f", "nowhere.json")
    whole = broker.ask("events", "produce", "--stream", "a", "--type", "order.made", "-x",
                       "urgent=true", "-o", "json", "@/etc/hostname")
    check(json.loads(whole.out)["accepted"] == 1, "data comes from a file")


def places_and_filters_select(running):
    broker = Broker(running)
    broker.fill()
    whole = broker.ask("events", "consume", "orders", "--from", "earliest", "--until-end", "-o", "json")
    times = [json.loads(x)["time"] for x in whole.out.splitlines()]
    for place, first in (("earliest", 0), ("6", 5), (times[9], times.index(times[9])), ("1h", 0)):
        check(broker.numbers("consume", "orders", "--from", place, "--until-end")[0] == first,
              f"--from {place} begins with event {first}")
    check(broker.numbers("consume", "orders", "--from", "new", "--until-end") == [],
          "--from new has nothing until something comes")
    check(broker.numbers("tail", "orders", "-l", "3", "-n", "3") == [17, 18, 19],
          "tail begins with the last three")
    for words, expected in ((("--subject", "1", "--sql", "INT(id) > 14"), [15, 17, 19]),
                            (("--type", "order.*", "--source", "*shop", "--sql", "id = '4'"), [4]),
                            (("--source", "/else"), [])):
        check(broker.numbers("consume", "orders", "--from", "1", "--until-end", *words) == expected,
              f"{' '.join(words)}: {expected}")
    broker.wrong(1, "ParseError", "events", "consume", "orders", "--sql", "id =")
    broker.ask("groups", "create", "orders/late", "--from", "earliest")
    broker.ask("streams", "purge", "orders", "--before", "6")
    for words in (("--from", "1", "--until-end"), ("--group", "late", "-n", "15")):
        done = broker.ask("events", "consume", "orders", *words, "-o", "json")
        check("events 1 to 5 are not kept any more" in done.err and
              len(done.out.splitlines()) == 15, f"{words[0]}: told what is gone, then given the rest")
    check(broker.json("groups", "get", "orders/late")["lost"] == 5, "and the group knows it")


def on_terminal(address, words, wanted, seconds=30):
    """Run until `wanted` stands on its terminal, or it ends; what stood there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([f"{processes.BIN}/dctl", *words, "--endpoint", address], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=theirs) as running:
        os.close(theirs)
        os.set_blocking(ours, False)
        text = [""]

        def stands():
            try:
                text[0] += os.read(ours, 65536).decode()
            except BlockingIOError:
                pass
            except OSError:  # the other end is closed
                return True
            return re.search(wanted, text[0])

        try:
            wait_for(f"'{wanted}' of {' '.join(words)}", stands, seconds)
        finally:
            running.terminate()
            running.wait(20)
            os.close(ours)
    return text[0]


def a_terminal_shows_the_rate(running):
    broker = Broker(running)
    broker.fill()
    end = on_terminal(broker.address, ["events", "consume", "orders", "--from", "earliest", "-n",
                                       "20"], r"received 20 events in [0-9.]+ s: \d+/s, [0-9.]+ MB/s")
    check("received 20 events in" in end, "at its end consume says how fast it was")
    line = on_terminal(broker.address, ["events", "consume", "orders", "--from", "earliest"],
                       r"\r\x1b\[Kreceived 20 events, \d+/s, [0-9.]+ MB/s")
    check("received 20 events, " in line, "while it waits it shows what came and the rate")
    line = on_terminal(broker.address, ["events", "produce", "--type", "order.more", "-n",
                                        "2000000", "--batch", "10", "{}"],
                       r"\r\x1b\[Kproduced \d+ events, \d+/s, [0-9.]+ MB/s")
    check("produced " in line, "so does produce")
    quiet = broker.ask("events", "consume", "orders", "--from", "earliest", "-n", "3")
    check("received" not in quiet.err, "nothing of it where there is no terminal")


main(every_verb_speaks_every_format, what_is_printed_can_be_read_back, places_and_filters_select,
     a_terminal_shows_the_rate)
