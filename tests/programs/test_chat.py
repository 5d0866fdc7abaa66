#!/usr/bin/env python3
"""Chats with generate, at a terminal and through pipes.

Usage: test_chat.py GENERATE SMOLLM2. The model may be missing: what needs it is left out then.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import talker
from terminal import Terminal

GENERATE, SMOLLM2 = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
FOLDER = tempfile.TemporaryDirectory()
TALKER = FOLDER.name
SAYS = talker.SENTENCE
LINES = "".join(f"line {i} of two hundred\n" for i in range(200))


def generate(*args, stdin="", **more):
    return subprocess.run([GENERATE, "-m", TALKER, *map(str, args)], input=stdin.encode(), capture_output=True, timeout=120, **more)


def objects(*args, **more):
    result = generate("--json", *args, **more)
    return result, [json.loads(line) for line in result.stdout.decode().splitlines()]


class AtTerminal(unittest.TestCase):
    def chat(self, *args, model=TALKER, **more):
        terminal = Terminal([GENERATE, "-m", model, *map(str, args)], **more)
        self.addCleanup(terminal.__exit__)
        terminal.prompt()
        return terminal

    def ask(self, terminal, line):
        terminal.send(line + "\r")
        terminal.prompt()

    def history(self, terminal):
        """The messages that the model sees, from the screen."""
        count = len(terminal.screen.lines())
        self.ask(terminal, "/history")
        return terminal.screen.lines()[count:-1]

    def test_a_question_and_its_answer(self):
        t = self.chat()
        self.assertTrue(t.screen.marks_pastes)
        self.ask(t, "hello")
        self.assertEqual(t.screen.lines()[-4:], ["Ask something; /help lists commands.", "> hello", SAYS, ">"])
        t.send("\x04")
        self.assertEqual(t.end(), 0)
        self.assertTrue(t.is_as_before())

    def check_two_hundred_pasted_lines(self, **environment):
        t = self.chat("--ctx", 20000, **environment)
        t.send("Read this: ")
        t.paste(LINES)
        self.ask(t, "and that")
        history = self.history(t)
        self.assertEqual(history, ["user: Read this: line 0 of two hundred", *LINES.splitlines()[1:], "and that", "assistant: " + SAYS])

    def test_two_hundred_pasted_lines_are_one_message(self):
        self.check_two_hundred_pasted_lines()

    def test_two_hundred_lines_without_marks_are_one_message(self):
        self.check_two_hundred_pasted_lines(term="dumb")

    def test_what_is_shown_of_a_paste(self):
        t = self.chat()
        t.paste(LINES)
        t.wait("> [paste 1: 200 lines]")
        t.send("\x7f")  # erased as a whole
        t.wait(lambda lines: lines[-1] == ">")
        t.paste("one line\n")
        t.wait("> one line")
        t.send("\x15")
        t.paste("x" * 1000)
        t.wait("> [paste 2: 1000 characters]")

    def test_a_paste_without_marks_is_one_message(self):
        t = self.chat()
        t.send("first\rsecond\rthird")
        t.wait(". third")
        self.ask(t, "")
        self.assertEqual(self.history(t), ["user: first", "second", "third", "assistant: " + SAYS])

    def test_what_is_typed_or_pasted_during_an_answer_waits_for_the_next_question(self):
        t = self.chat("--ignore-eos", "-n", 1000, "--ctx", 20000)
        t.send("go\r")
        t.wait(lambda lines: "!!!" in lines[-1])
        t.send("one\rnext one")
        t.paste("\n" + LINES)
        t.wait(lambda lines: lines[-1] == "> next one[paste 1: 201 lines]")
        self.assertEqual([line for line in t.screen.lines() if "o" in line and not line.startswith((SAYS, "[cut", "Ask"))],
                         ["> go", "> one", "> next one[paste 1: 201 lines]"])

    def test_interrupts_while_a_line_is_edited(self):
        t = self.chat()
        t.send("some words")
        t.wait("> some words")
        t.send("\x03")
        t.prompt()
        self.assertIn("[Ctrl-C again or Ctrl-D ends the chat]", t.screen.lines())
        self.ask(t, "hello")
        self.assertEqual(self.history(t), ["user: hello", "assistant: " + SAYS])
        t.send("\x03")
        t.prompt()
        t.send("\x03")
        self.assertEqual(t.end(), 130)
        self.assertTrue(t.is_as_before())

    def test_interrupts_while_the_answer_is_written(self):
        t = self.chat("--ignore-eos", "--ctx", 100000)
        t.send("go\r")
        t.wait(lambda lines: "!!!" in lines[-1])
        t.send("\x03")
        t.wait("[ended by Ctrl-C]", 5)
        t.prompt()
        self.assertTrue(self.history(t)[1].startswith("assistant: " + SAYS + "!!!"))
        t.send("go\r")
        t.wait(lambda lines: "!!!" in lines[-1])
        t.send("\x03")
        t.wait(lambda lines: lines.count("[ended by Ctrl-C]") == 2, 5)
        t.prompt()
        t.send("half a line")
        t.wait("> half a line")
        t.send("\x03")  # drops the line
        t.prompt()
        t.send("\x03")
        self.assertEqual(t.end(10), 130)
        self.assertTrue(t.is_as_before())

    def test_interrupts_while_the_prompt_is_read(self):
        t = self.chat("--ctx", 300000)
        self.ask(t, "hello")
        t.paste("long " * 20000)
        t.send("\r")
        t.wait(lambda lines: lines[-1].startswith("prompt ["))
        t.send("\x03")
        t.wait("[ended before the answer; the question is taken back]", 10)
        t.prompt()
        self.assertEqual(self.history(t), ["user: hello", "assistant: " + SAYS])
        t.send("\x1b[A\x1b[A\r")  # the question is in the history of lines
        t.wait(lambda lines: lines[-1].startswith("prompt ["))
        t.send("\x03")
        t.wait(lambda lines: lines.count("[ended before the answer; the question is taken back]") == 2, 10)
        t.prompt()
        t.send("\x03")
        self.assertEqual(t.end(10), 130)
        self.assertTrue(t.is_as_before())

    def test_commands(self):
        t = self.chat("--system-prompt", "Be brief.", "--temp", 30)
        self.ask(t, "/help")
        self.assertTrue(any(line.startswith("/regen") for line in t.screen.lines()))
        self.ask(t, "one")
        first = self.history(t)[2:]
        self.ask(t, "/regen")
        second = self.history(t)[2:]
        self.assertNotEqual(first, second)
        self.assertEqual(self.history(t)[:2], ["system: Be brief.", "user: one"])
        self.ask(t, "/undo")
        self.assertEqual(self.history(t), ["system: Be brief."])
        self.ask(t, "/undo")
        self.assertIn("[there is no question to take back]", t.screen.lines())
        self.ask(t, "/system Be loud.")
        self.ask(t, "/system")
        self.assertEqual(t.screen.lines()[-2], "Be loud.")
        self.ask(t, "two")
        self.ask(t, "/stats")
        self.assertIn("3 messages", t.screen.lines())
        self.ask(t, "/clear")
        self.assertEqual(self.history(t), ["system: Be loud."])
        self.ask(t, "/system -")
        self.assertEqual(self.history(t), [])
        self.ask(t, "/nonsense")
        self.assertIn("error: there is no /nonsense; /help lists what there is", t.screen.lines())
        self.ask(t, " /nonsense")
        self.assertEqual(self.history(t)[0], "user:  /nonsense")
        t.send("/exit\r")
        self.assertEqual(t.end(), 0)

    def test_regen_says_that_nothing_is_drawn(self):
        t = self.chat()
        self.ask(t, "one")
        self.ask(t, "/regen")
        self.assertIn("[at temperature 0 the answer is the same; see --temp]", t.screen.lines())
        self.assertEqual(self.history(t), ["user: one", "assistant: " + SAYS])

    def test_messages_of_several_lines(self):
        t = self.chat()
        t.send("a \\\r")
        t.wait(lambda lines: lines[-1] == ".")
        self.ask(t, "b")
        t.send('"""c\r')
        t.wait(lambda lines: lines[-1] == ".")
        t.send("/undo\r")
        t.wait(lambda lines: lines[-1] == "." and lines[-2] == ". /undo")
        self.ask(t, 'd"""')
        self.assertEqual(self.history(t), ["user: a", "b", "assistant: " + SAYS, "user: c", "/undo", "d", "assistant: " + SAYS])

    def test_a_narrow_terminal(self):
        t = self.chat("--ctx", 300000, columns=40)
        text = "Wörter 日本語 and a lot of words beyond the width of forty columns"
        t.send(text)
        t.wait(lambda lines: lines[-1].endswith("columns"))
        self.assertEqual("".join(t.screen.lines()[-2:]), "> " + text)
        t.send("\x01X\x05" + "\x7f" * len(" columns"))
        t.wait(lambda lines: "".join(lines[-2:]) == "> X" + text[:-len(" columns")])
        self.ask(t, "")
        self.assertIn("Wörter", self.history(t)[0])
        self.ask(t, "/help")
        self.assertLessEqual(max(map(len, t.screen.lines())), 40)
        t.paste("long " * 20000)
        t.send("\r")
        t.wait(lambda lines: lines[-1].startswith("prompt ["))
        drawn = t.screen.lines()[-1]
        t.wait(lambda lines: lines[-1] != drawn)
        self.assertEqual(len([line for line in t.screen.lines() if line.startswith("prompt")]), 1)
        t.send("\x03")
        t.prompt()
        self.assertFalse(any(line.startswith("prompt") for line in t.screen.lines()))

    def test_a_new_width(self):
        t = self.chat()
        t.send("some words")
        t.wait("> some words")
        t.resize(30)
        t.settle()
        t.send(" and more of them, beyond thirty")
        t.wait(lambda lines: lines[-2:] == ["> some words and more of them,", " beyond thirty"])
        self.ask(t, "")
        self.assertEqual(self.history(t)[0], "user: some words and more of t")

    def test_stopped_and_continued(self):
        t = self.chat()
        t.send("half a line")
        t.wait("> half a line")
        os.kill(t.pid, signal.SIGTSTP)
        time.sleep(0.3)
        t.settle()
        self.assertTrue(t.is_as_before())
        os.kill(t.pid, signal.SIGCONT)
        t.wait(lambda lines: t.screen.marks_pastes)
        self.ask(t, " more")
        self.assertEqual(self.history(t)[0], "user: half a line more")
        os.kill(t.pid, signal.SIGTERM)
        self.assertEqual(t.end(), 143)
        self.assertTrue(t.is_as_before())

    def test_no_color_has_no_styles(self):
        self.assertGreater(self.chat(NO_COLOR="").screen.styles, 0)
        t = self.chat(NO_COLOR="1")
        self.ask(t, "hello")
        self.assertEqual(t.screen.styles, 0)

    def test_a_dumb_terminal_gets_no_escape_sequences(self):
        t = self.chat(term="dumb")
        self.ask(t, "hello")
        self.assertEqual(self.history(t), ["user: hello", "assistant: " + SAYS])
        t.send("half")
        t.send("\x03")
        t.wait("[Ctrl-C again or Ctrl-D ends the chat]")
        t.prompt()
        t.send("\x04")
        self.assertEqual(t.end(), 0)
        self.assertNotIn(b"\x1b", t.raw)

    def test_an_answer_cannot_command_the_terminal(self):
        escape = ("--logit-bias", f"{talker.byte_letters()[1].index(0x1b)}+100", "-n", 3)
        t = self.chat(*escape)
        self.ask(t, "go")
        self.assertIn("\\x1b\\x1b\\x1b", t.screen.lines())
        self.assertEqual(generate("-p", "go", *escape).stdout, b"\x1b\x1b\x1b\n")

    def test_old_turns_are_forgotten_and_said_so(self):
        t = self.chat("--ctx", 400)
        for i in range(8):
            self.ask(t, f"{i} " + "x" * 40)
        self.assertTrue(any("forgot the oldest" in line for line in t.screen.lines()))
        self.assertNotIn("user: 0", "\n".join(self.history(t)))

    def test_interrupt_while_the_model_is_loaded_or_stdin_is_read(self):
        with Terminal([GENERATE, "-m", TALKER, "-p", "-"]) as t:
            t.settle(0.3)
            t.send("\x03")
            self.assertEqual(t.end(), 130)


class InPipe(unittest.TestCase):
    def test_a_chat_through_a_pipe(self):
        result = generate("--chat", stdin="one\n\n/regen\ntwo \\\nthree\n/history\n\"\"\"four\nfive\"\"\"\n")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stdout.decode(), (SAYS + "\n") * 4)
        self.assertIn("user: two \nthree\n", result.stderr.decode())
        self.assertNotIn(b"\x1b", result.stdout + result.stderr)
        self.assertNotIn(b"> ", result.stderr)
        self.assertEqual(generate("--chat", stdin="/nonsense\none\n").returncode, 1)

    def test_forgetting_is_said_on_stderr(self):
        result = generate("--chat", "--ctx", 400, stdin=("y" * 60 + "\n") * 8)
        self.assertIn(b"forgot the oldest", result.stderr)
        self.assertEqual(result.stdout.decode(), (SAYS + "\n") * 8)

    def test_a_first_question_and_a_chat(self):
        self.assertEqual(generate("--chat", "-p", "one", stdin="two\n").stdout.decode(), (SAYS + "\n") * 2)

    def test_a_last_newline_is_not_part_of_the_question(self):
        _, (with_newline,) = objects(stdin="hello\n")
        _, (without,) = objects("-p", "hello")
        self.assertEqual(with_newline["prompt_tokens"], without["prompt_tokens"])

    def test_what_cannot_be_written_is_an_error(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([GENERATE, "-m", TALKER, "-p", "hi"], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"No space left", result.stderr)
        self.assertEqual(generate(stdin="").returncode, 1)

    def test_an_interrupt_before_the_answer_is_130(self):
        process = subprocess.Popen([GENERATE, "-m", TALKER, "--ctx", "300000"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"long " * 20000)
        process.stdin.close()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=20), 130)
        self.assertEqual(process.stdout.read() + process.stderr.read(), b"")
        process.stdout.close()
        process.stderr.close()


class Json(unittest.TestCase):
    def test_one_question(self):
        result, (answer,) = objects("-p", "hello")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        prompt = "[user]hello\n:"
        self.assertEqual({k: v for k, v in answer.items() if not k.endswith("seconds")},
                         {"type": "answer", "text": SAYS, "reason": "end_of_text", "dropped_messages": 0, "prompt_tokens": len(prompt),
                          "cached_tokens": 0, "answer_tokens": len(SAYS), "context_used": len(prompt) + len(SAYS),
                          "context_size": 4096, "seed": 0})
        self.assertTrue(all(answer[k] >= 0 for k in ("load_seconds", "prompt_seconds", "answer_seconds")))

    def test_pieces_of_an_answer(self):
        _, lines = objects("--stream", "-p", "hello", "--stop", "fox")
        self.assertEqual([line["type"] for line in lines[:-1]], ["delta"] * (len(lines) - 1))
        self.assertEqual("".join(line["text"] for line in lines[:-1]), "Quick ")
        self.assertEqual((lines[-1]["text"], lines[-1]["reason"]), ("Quick ", "stop_string"))
        self.assertEqual(generate("--stream", "-p", "hello").returncode, 1)

    def test_raw_text(self):
        _, (answer,) = objects("--raw", "-p", "Qu")
        self.assertEqual((answer["text"], answer["prompt_tokens"]), (SAYS[2:], 2))

    def test_a_chat(self):
        requests = ['"one"', {"question": "two"}, {"command": "regen"}, {"command": "undo"}, {"command": "history"},
                    {"command": "system", "text": "S"}, "", {"command": "stats"}, {"command": "clear"}, "{bad", {"command": "fly"}, "[]",
                    {"command": "undo"}, {"command": "exit"}, '"never"']
        result, lines = objects("--chat", stdin="".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in requests))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual([line["type"] for line in lines],
                         ["answer", "answer", "answer", "undo", "history", "system", "stats", "clear", "error", "error", "error", "error"])
        self.assertEqual(lines[1]["cached_tokens"], len("[user]one\n"))
        self.assertEqual(lines[2]["cached_tokens"] + 1, lines[2]["prompt_tokens"])
        self.assertEqual(lines[3], {"type": "undo", "messages": 2})
        self.assertEqual(lines[4]["messages"], [{"role": "user", "content": "one"}, {"role": "assistant", "content": SAYS}])
        self.assertEqual((lines[5]["messages"], lines[6]["messages"], lines[7]["messages"]), (3, 3, 1))
        self.assertEqual({line["code"] for line in lines if line["type"] == "error"}, {"bad_argument"})

    def test_another_answer_is_drawn_anew_and_the_same_in_another_run(self):
        requests = '"one"\n' + '{"command":"regen"}\n' * 3
        runs = [objects("--chat", "--temp", 30, "-n", 20, "-s", seed, stdin=requests)[1] for seed in (7, 7, 8)]
        texts = [[line["text"] for line in lines] for lines in runs]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(len({*texts[0], *texts[2]}), 8)

    def test_errors(self):
        result, (error,) = objects("-p", "x" * 5000)
        self.assertEqual((result.returncode, error["type"], error["code"]), (2, "error", "context_full"))
        self.assertIn(b"error: context full", result.stderr)
        result, lines = objects("--chat", stdin=json.dumps("x" * 5000) + '\n"short"\n')
        self.assertEqual((result.returncode, [line["type"] for line in lines]), (0, ["error", "answer"]))

    def test_dropped_messages_are_counted(self):
        _, lines = objects("--chat", "--ctx", 400, stdin=(json.dumps("y" * 60) + "\n") * 8)
        dropped = sum(line["dropped_messages"] for line in lines)
        self.assertGreater(dropped, 0)
        self.assertEqual(dropped % 2, 0)


class Options(unittest.TestCase):
    def text(self, *args):
        result, (answer,) = objects(*args, "-p", "hello")
        self.assertEqual(result.returncode, 0, result.stderr)
        return answer["text"]

    def refused(self, *args):
        result = generate(*args, "-p", "hello")
        self.assertEqual(result.returncode, 1, args)
        self.assertEqual(len(result.stderr.splitlines()), 1)
        return result.stderr.decode()

    def test_sampling(self):
        letters, order = talker.byte_letters()
        q, x = order.index(ord("Q")), order.index(ord("x"))
        self.assertEqual(self.text("--logit-bias", f"{q}-inf", "--logit-bias", f"{x}+3"), "xes.")
        self.assertEqual(self.text("--ignore-eos", "-n", len(SAYS) + 3), SAYS + "!!!")
        self.assertEqual(len(self.text("--ignore-eos", "-n", 40, "--repeat-penalty", 1e9, "--repeat-last-n", -1)), 40)
        punished = self.text("--ignore-eos", "-n", 40, "--presence-penalty", 100)
        self.assertEqual(len(set(punished)), len(punished))
        self.assertEqual(self.text("--ignore-eos", "-n", 40, "--presence-penalty", 100, "--repeat-last-n", 0), SAYS + "!" * (40 - len(SAYS)))
        self.assertNotEqual(self.text("--frequency-penalty", 100, "--ignore-eos", "-n", 40), SAYS + "!" * (40 - len(SAYS)))
        hot = ("--temp", 30, "-n", 30)
        self.assertNotEqual(self.text(*hot), SAYS)
        for narrow in (("--top-k", 1), ("--top-p", 0.001), ("--min-p", 1), ("--typical", 1e-9)):
            self.assertEqual(self.text(*hot, *narrow), SAYS if narrow[0] != "--typical" else self.text(*hot, *narrow), narrow)

    def test_a_random_seed_is_told(self):
        runs = [objects("-p", "hello", "--temp", 30, "-n", 30, "-s", -1)[1][0] for _ in range(2)]
        self.assertNotEqual(runs[0]["seed"], runs[1]["seed"])
        again = objects("-p", "hello", "--temp", 30, "-n", 30, "-s", runs[0]["seed"])[1][0]
        self.assertEqual(again["text"], runs[0]["text"])

    def test_refusals(self):
        self.assertIn("--logit-bias", self.refused("--logit-bias", "5x"))
        self.assertIn("logit_bias", self.refused("--logit-bias", "999+1"))
        self.assertIn("min_p", self.refused("--min-p", 2))
        self.assertIn("typical_p", self.refused("--typical", 0))
        self.assertIn("--seed", self.refused("--seed", "x"))
        self.assertIn("system-prompt", self.refused("--system-prompt", "a", "--system-prompt-file", "b"))

    def test_vain_options_are_said(self):
        self.assertIn(b"temperature 0", generate("-p", "hello", "--top-k", 5).stderr)

    def test_system_prompts(self):
        count = lambda *args: objects(*args, "-p", "hello")[1][0]["prompt_tokens"]
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("Be brief.\n")
            file.flush()
            self.assertEqual(count("--system-prompt-file", file.name), count("-sys", "Be brief."))
        self.assertEqual(count("-sys", "Be brief.") - count(), len("[system]Be brief.\n"))

    def test_timings(self):
        stderr = generate("-p", "hello", "--timings").stderr.decode()
        for word in ("load", "tok/s", "peak memory", "end of text", "context 25 of 4096"):
            self.assertIn(word, stderr)


class SmolLm2AtTerminal(unittest.TestCase):
    """The same with a real model: what is pasted arrives, Ctrl-C ends the reading of it and an answer."""

    def test_a_conversation(self):
        with Terminal([GENERATE, "-m", SMOLLM2, "-n", "40"]) as t:
            t.prompt()
            t.send("What is the capital of France? Answer in one word.\r")
            t.wait(lambda lines: any("Paris" in line for line in lines), 60)
            t.prompt()
            t.paste(LINES)
            t.wait("> [paste 1: 200 lines]")
            t.send("\r")
            t.wait(lambda lines: lines[-1].startswith("prompt ["), 60)
            t.send("\x03")
            t.wait("[ended before the answer; the question is taken back]", 10)
            t.prompt()
            t.send("Tell me a long story.\r")
            t.wait(lambda lines: len(lines[-1]) > 20 and lines[-2].endswith("story."), 60)
            t.send("\x03")
            t.wait("[ended by Ctrl-C]", 10)
            t.prompt()
            t.send("\x04")
            self.assertEqual(t.end(), 0)
            self.assertTrue(t.is_as_before())


# What cannot run here is not there, rather than skipped.
if not os.path.isfile(SMOLLM2):
    del SmolLm2AtTerminal
if b"el_gets" not in pathlib.Path(GENERATE).read_bytes():  # built without libedit
    for name in ("a_question_and_its_answer", "two_hundred_pasted_lines_are_one_message", "what_is_shown_of_a_paste",
                 "a_paste_without_marks_is_one_message", "what_is_typed_or_pasted_during_an_answer_waits_for_the_next_question",
                 "interrupts_while_the_answer_is_written", "interrupts_while_the_prompt_is_read", "a_narrow_terminal",
                 "stopped_and_continued"):
        delattr(AtTerminal, "test_" + name)

if __name__ == "__main__":
    talker.write(pathlib.Path(TALKER))
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
