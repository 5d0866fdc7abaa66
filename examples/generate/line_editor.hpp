#pragma once
// Lines that the user edits through libedit, with a history for the session. libedit does not know that terminals mark
// what is pasted, so the marks are taken out of the bytes before it sees them: a paste becomes part of the line, and
// one of several lines a short name for them.

#if PROGRAM_WITH_LIBEDIT

#include <histedit.h>
#include <langinfo.h>

#include <algorithm>
#include <clocale>
#include <cwchar>
#include <memory>
#include <utility>
#include <vector>

#include "generate/input.hpp"

namespace program {

class LineEditor final : public LineSource {
 public:
  /// None if stdin or stderr is no terminal, or one that cannot move its cursor, or there is no UTF-8 locale.
  static std::unique_ptr<LineEditor> open(Input& input) {
    if (!terminal::takes_escapes() || ::isatty(STDIN_FILENO) == 0 || !use_utf8()) return nullptr;
    std::unique_ptr<LineEditor> editor(new LineEditor(input));
    return editor->start() ? std::move(editor) : nullptr;
  }
  ~LineEditor() override {
    if (history_ != nullptr) ::history_end(history_);
    if (edit_ != nullptr) ::el_end(edit_);
    if (out_ != nullptr) std::fclose(out_);
    if (marks_) terminal::restore();
  }
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Line read(const char* prompt) override {
    prompt_ = styled_ ? "\1\033[1m\1" + std::string(1, *prompt) + "\1\033[0m\1" + (prompt + 1) : prompt;
    interrupted_ = false;
    int length = 0;
    terminal::be_edited();
    ::el_set(edit_, EL_PREP_TERM, 1);  // before the prompt: what comes at once would be shown twice
    const char* text = ::el_gets(edit_, &length);
    terminal::be_quiet();
    if (text == nullptr || length <= 0) {
      std::fputs("\n", out_);
      std::fflush(out_);
      if (!interrupted_) return {Line::Kind::end, {}, {}};
      input_.discard();
      return {Line::Kind::interrupted, dropped_, dropped_};
    }
    std::string typed(text);
    while (typed.ends_with('\n') || typed.ends_with('\r')) typed.pop_back();
    HistEvent event;
    if (!typed.empty()) ::history(history_, &event, H_ENTER, typed.c_str());
    return {Line::Kind::text, typed, with_pastes(typed)};
  }
  bool ready(int milliseconds) override { return input_.ready(milliseconds); }

 private:
  struct Paste {
    std::string name, text;
  };
  static constexpr wchar_t event_key = 0x1E;  // Ctrl-^, bound to nothing else
  static constexpr const char* event_key_name = "^^";

  explicit LineEditor(Input& input) : input_(input), styled_(terminal::takes_styles()) {}

  /// libedit writes through the locale. Containers often have none: glibc's C.UTF-8 is always there.
  static bool use_utf8() {
    for (const char* name : {"", "C.UTF-8"})
      if (std::setlocale(LC_CTYPE, name) != nullptr && std::string_view(::nl_langinfo(CODESET)) == "UTF-8") return true;
    return false;
  }

  bool start() {
    const int fd = ::dup(STDERR_FILENO);
    out_ = fd < 0 ? nullptr : ::fdopen(fd, "w");  // buffered, unlike stderr
    if (out_ == nullptr) return false;
    marks_ = terminal::mark_pastes();
    edit_ = marks_ ? ::el_init("generate", stdin, out_, out_) : nullptr;
    history_ = ::history_init();
    if (edit_ == nullptr || history_ == nullptr) return false;
    HistEvent event;
    ::history(history_, &event, H_SETSIZE, 1000);
    ::history(history_, &event, H_SETUNIQUE, 1);
    ::el_set(edit_, EL_CLIENTDATA, this);
    ::el_set(edit_, EL_EDITOR, "emacs");
    ::el_set(edit_, EL_PROMPT_ESC, prompt_of, '\1');
    ::el_set(edit_, EL_GETCFN, next_character);
    ::el_set(edit_, EL_HIST, ::history, history_);
    ::el_set(edit_, EL_BIND, "^W", "ed-delete-prev-word", nullptr);
    ::el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    ::el_source(edit_, nullptr);  // the user's .editrc
    // Not el_set(), which would never free its copies of the names.
    ::el_wset(edit_, EL_ADDFN, L"chat-event", L"What is no key", on_event);
    ::el_set(edit_, EL_BIND, event_key_name, "chat-event", nullptr);
    ::el_set(edit_, EL_BIND, "-a", event_key_name, "chat-event", nullptr);  // vi's command mode
    return true;
  }

  static LineEditor& of(EditLine* edit) {
    void* self = nullptr;
    ::el_get(edit, EL_CLIENTDATA, &self);
    return *static_cast<LineEditor*>(self);
  }
  static char* prompt_of(EditLine* edit) { return of(edit).prompt_.data(); }

  /// libedit's source of characters: 1 one was read, 0 the end, -1 interrupted. What is no key goes to on_event().
  static int next_character(EditLine* edit, wchar_t* out) {
    LineEditor& self = of(edit);
    std::string bytes;
    for (char byte = 0;;) switch (self.input_.next(byte)) {
        case Input::Event::end:
          return 0;
        case Input::Event::interrupted:
          self.interrupted_ = true;
          self.dropped_.assign(::el_line(edit)->buffer, ::el_line(edit)->lastchar);
          errno = EINTR;
          return -1;
        case Input::Event::resized:
          ::el_resize(edit);
          *out = event_key;
          return 1;
        case Input::Event::continued:
          ::el_set(edit, EL_PREP_TERM, 0);  // it believes that it is still set
          ::el_set(edit, EL_PREP_TERM, 1);
          ::el_set(edit, EL_REFRESH);
          break;
        case Input::Event::byte:
          if (bytes.empty() && byte == '\033' && self.input_.take("[200~")) {
            self.insert_ = self.read_paste();
            *out = event_key;
            return 1;
          }
          if (bytes.empty() && (byte == '\b' || byte == '\x7F' || byte == '\x17') &&
              (self.erase_ = self.paste_before_cursor()) != 0) {
            *out = event_key;
            return 1;
          }
          bytes += byte;
          std::mbstate_t state{};
          const std::size_t n = std::mbrtowc(out, bytes.data(), bytes.size(), &state);
          if (n == static_cast<std::size_t>(-2)) break;  // a character's next byte is to come
          if (n == static_cast<std::size_t>(-1)) *out = L'\uFFFD';
          return 1;
      }
  }

  /// A paste, an erased one, or a new size of the window, as a command of libedit's.
  static unsigned char on_event(EditLine* edit, wint_t) {
    LineEditor& self = of(edit);
    const std::string insert = std::exchange(self.insert_, {});
    const int erase = std::exchange(self.erase_, 0);
    if (insert.empty() && erase == 0) return CC_REDISPLAY;
    if (erase != 0)
      ::el_deletestr(edit, erase);
    else
      ::el_insertstr(edit, insert.c_str());
    return CC_REFRESH;
  }

  /// What is pasted, up to its end mark, as it goes into the line.
  std::string read_paste() {
    constexpr std::string_view end = "\033[201~";
    constexpr std::size_t longest_shown = 400;
    std::string text;
    for (char byte = 0; !text.ends_with(end);) {
      const Input::Event event = input_.next(byte);
      if (event == Input::Event::interrupted || event == Input::Event::end) return {};
      if (event == Input::Event::byte) text += byte == '\r' ? '\n' : byte;  // terminals send Enter for a new line
    }
    text.resize(text.size() - end.size());
    std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t'; });
    const auto newlines = std::count(text.begin(), text.end(), '\n');
    if (newlines == 1 && text.ends_with('\n')) text.pop_back();
    if (text.find('\n') == std::string::npos && text.size() <= longest_shown) return text;
    const auto characters = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
    const std::string size = text.find('\n') != std::string::npos
                                 ? std::to_string(newlines + (text.ends_with('\n') ? 0 : 1)) + " lines"
                                 : std::to_string(characters) + " characters";
    pastes_.push_back({"[paste " + std::to_string(pastes_.size() + 1) + ": " + size + "]", std::move(text)});
    return pastes_.back().name;
  }

  /// Length of the paste's name that ends at the cursor, or 0. Erasing takes it away as a whole: half of one would
  /// stand for nothing.
  int paste_before_cursor() const {
    const LineInfo* line = ::el_line(edit_);
    const std::string_view before(line->buffer, static_cast<std::size_t>(line->cursor - line->buffer));
    for (const Paste& p : pastes_)
      if (before.ends_with(p.name)) return static_cast<int>(p.name.size());
    return 0;
  }

  std::string with_pastes(std::string_view typed) const {
    std::string out;
    while (!typed.empty()) {
      const auto paste =
          std::find_if(pastes_.begin(), pastes_.end(), [&](const Paste& p) { return typed.starts_with(p.name); });
      out += paste != pastes_.end() ? std::string_view(paste->text) : typed.substr(0, 1);
      typed.remove_prefix(paste != pastes_.end() ? paste->name.size() : 1);
    }
    return out;
  }

  Input& input_;
  std::FILE* out_ = nullptr;
  EditLine* edit_ = nullptr;
  History* history_ = nullptr;
  std::string prompt_;
  std::vector<Paste> pastes_;
  std::string dropped_;  // with an interrupt
  std::string insert_;   // for on_event()
  int erase_ = 0;
  bool styled_ = false, interrupted_ = false, marks_ = false;
};

}  // namespace program

#endif
