"""A program at a terminal: a pty, and the screen that its output draws. Knows what xterm's terminfo entry makes libedit
send: enough to say what a user would see."""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unicodedata


class Screen:
    def __init__(self, columns):
        self.columns = columns
        self.rows = [[]]
        self.row = self.column = 0
        self.marks_pastes = False
        self.styles = 0  # escape sequences for bold, dim and colours
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.pending = ""

    def lines(self):
        return ["".join(row).rstrip() for row in self.rows]

    def feed(self, data):
        text = self.pending + self.decoder.decode(data)
        at = 0
        while at < len(text):
            char = text[at]
            if char == "\x1b":
                match = re.compile(r"\x1b(\[[?>]?[\d;]*[ -/]*[@-~]|[()].|[=>78])").match(text, at)
                if not match:
                    break  # the rest of it is to come
                self.escape(match.group(1))
                at = match.end()
                continue
            at += 1
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self.row += 1
                while self.row >= len(self.rows):
                    self.rows.append([])
            elif char == "\b":
                self.column = max(min(self.column, self.columns - 1) - 1, 0)
            elif char >= " ":
                self.put(char)
        self.pending = text[at:]

    def put(self, char):
        width = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if self.column + width > self.columns:
            self.column = 0
            self.feed(b"\n")
        row = self.rows[self.row]
        row.extend(" " * (self.column + width - len(row)))
        row[self.column:self.column + width] = [char] + [""] * (width - 1)
        self.column += width

    def escape(self, sequence):
        if sequence in ("[?2004h", "[?2004l"):
            self.marks_pastes = sequence.endswith("h")
        numbers = [int(n) for n in re.findall(r"\d+", sequence)]
        n = max(numbers[0], 1) if numbers else 1
        row = self.rows[self.row]
        if sequence.endswith("K"):
            del row[self.column:]
        elif sequence.endswith("J"):
            del row[self.column:], self.rows[self.row + 1:]
        elif sequence.endswith("A"):
            self.row = max(self.row - n, 0)
        elif sequence.endswith("C"):
            self.column = min(self.column + n, self.columns - 1)
        elif sequence.endswith("G"):
            self.column = n - 1
        elif sequence.endswith("D"):
            self.column = max(self.column - n, 0)
        elif sequence.endswith("P"):
            del row[self.column:self.column + n]
        elif sequence.endswith("@"):
            row[self.column:self.column] = [" "] * n
            del row[self.columns:]
        elif sequence.endswith("H"):
            self.row, self.column = 0, 0
        elif sequence.endswith("m") and numbers and numbers != [0]:
            self.styles += 1


class Terminal:
    """Runs a command on a pty. Every wait has an end."""

    def __init__(self, command, columns=80, term="xterm", **environment):
        self.screen = Screen(columns)
        self.raw = b""
        self.prompts = 0
        env = {**os.environ, "TERM": term, **environment}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                os.execvpe(command[0], [str(word) for word in command], env)
            finally:
                os._exit(127)
        self.before = termios.tcgetattr(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)

    def read(self, seconds):
        """Takes what comes; False: the program has closed the terminal."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += data
        self.screen.feed(data)
        return bool(data)

    def wait(self, condition, seconds=30):
        """Until a line of the screen is this text, or condition(lines) holds. Fails with the screen otherwise."""
        test = condition if callable(condition) else lambda lines: condition in lines
        end = time.monotonic() + seconds
        alive = True
        while not test(self.screen.lines()):
            if not alive or time.monotonic() > end:
                raise AssertionError(f"{condition!r} is not on the screen:\n" + "\n".join(self.screen.lines()))
            alive = self.read(0.1)

    def prompt(self, number=1):
        """Waits until the program asks for input once more, or so many times."""
        def asked(lines):
            return sum(line.startswith(">") for line in lines)
        self.wait(lambda lines: lines[-1] == ">" and asked(lines) >= self.prompts + number)
        self.prompts = asked(self.screen.lines())

    def settle(self, seconds=0.2):
        """Until nothing has come for a while."""
        size = -1
        while size != len(self.raw) and self.read(0):
            size = len(self.raw)
            self.read(seconds)

    def send(self, text):
        data = text.encode()
        while data:  # the other side reads as fast as it can; what it echoes must not fill the pty
            _, writable, _ = select.select([], [self.fd], [], 0.05)
            if writable:
                data = data[os.write(self.fd, data[:1024]):]
            self.read(0)

    def paste(self, text):
        """As terminals do: Enter for a new line, with marks if they were asked for."""
        text = text.replace("\n", "\r")
        self.send("\x1b[200~" + text + "\x1b[201~" if self.screen.marks_pastes else text)

    def resize(self, columns):
        self.screen.columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def end(self, seconds=30):
        """Waits for the program's end; returns its exit status, as a shell shows it."""
        end = time.monotonic() + seconds
        while self.read(0.05):
            if time.monotonic() > end:
                raise AssertionError("still running:\n" + "\n".join(self.screen.lines()))
        status = os.waitpid(self.pid, 0)[1]
        return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)

    def is_as_before(self):
        """Whether the terminal is as the program found it."""
        return termios.tcgetattr(self.fd) == self.before and not self.screen.marks_pastes
