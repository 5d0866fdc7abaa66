#pragma once
// strftime of a time that the caller passes in, in the C locale: the library reads neither clock nor locale.
// Sources: Python 3 library reference (datetime.strftime), ISO 8601 for %G %V %u; the glibc flags '-', '_', '0', '^'.

#include <cstdint>
#include <string>
#include <string_view>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

/// A moment on the wall clock of whoever asks, in the proleptic Gregorian calendar. Years 1 to 9999.
struct LocalTime {
  int year = 1970, month = 1, day = 1;  ///< month and day from 1
  int hour = 0, minute = 0, second = 0;
  int microsecond = 0;

  static constexpr bool is_leap(int year) noexcept { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }
  static constexpr int days_in(int year, int month) noexcept {
    constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
  }
  constexpr bool is_valid() const noexcept {
    return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= days_in(year, month) &&
           hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60 && microsecond >= 0 &&
           microsecond < 1'000'000;
  }
  constexpr int day_of_year() const noexcept {  ///< from 0
    int days = day - 1;
    for (int m = 1; m < month; ++m) days += days_in(year, m);
    return days;
  }
  constexpr int weekday() const noexcept {  ///< Sunday is 0
    const int y = year - 1;
    return (y * 365 + y / 4 - y / 100 + y / 400 + day_of_year() + 1) % 7;  // 0001-01-01 was a Monday
  }
};

namespace jinja {

namespace detail {

/// Weeks that an ISO 8601 year has.
constexpr int iso_weeks_in(int year) noexcept {
  LocalTime last;
  last.year = year;
  last.month = 12;
  last.day = 31;
  const int weekday = last.weekday();
  return weekday == 4 || (weekday == 5 && LocalTime::is_leap(year)) ? 53 : 52;
}

struct IsoWeek {
  int year, week;
};
constexpr IsoWeek iso_week(const LocalTime& t) noexcept {
  const int weekday = (t.weekday() + 6) % 7;  // Monday is 0
  const int week = (t.day_of_year() - weekday + 10) / 7;
  if (week < 1) return {t.year - 1, iso_weeks_in(t.year - 1)};
  if (week > iso_weeks_in(t.year)) return {t.year + 1, 1};
  return {t.year, week};
}

/// Appends value in this width; the flags '-', '_' and '0' overrule the padding.
TMODEL_NOINLINE inline void pad_number(std::string& out, char flag, int value, int width, char pad) {
  const std::string digits = std::to_string(value);
  if (flag == '_') pad = ' ';
  if (flag == '0') pad = '0';
  if (flag != '-' && digits.size() < static_cast<std::size_t>(width))
    out.append(static_cast<std::size_t>(width) - digits.size(), pad);
  out += digits;
}

}  // namespace detail

/// Errors: bad_argument if t is not a date; unsupported names a conversion that is not here (%s, %E, %O, %+).
inline expected<std::string> format_time(std::string_view format, const LocalTime& t) {
  constexpr std::string_view days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  constexpr std::string_view months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
  if (!t.is_valid()) return fail(Errc::bad_argument, "the given time is not a date");
  if (format.find('\0') != format.npos) return fail(Errc::unsupported, "strftime: a zero byte is not supported");
  const std::string_view day = days[t.weekday()], month = months[t.month - 1];
  const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
  const detail::IsoWeek iso = detail::iso_week(t);
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    char flag = 0;
    if (++i < format.size() && std::string_view("-_0^").find(format[i]) != std::string_view::npos) flag = format[i++];
    if (i >= format.size()) return fail(Errc::unsupported, "strftime: '%' at the end of the format");
    const bool text = std::string_view("aAbBhp").find(format[i]) != std::string_view::npos;
    const bool numeric = std::string_view("wudemyYCGgVUWjHkIlMS").find(format[i]) != std::string_view::npos;
    if (flag != 0 && !(flag == '^' ? text : numeric))
      return fail(Errc::unsupported, std::string("strftime: %") + flag + format[i] + " is not supported");
    const std::size_t begin = out.size();
    const auto number = [&](int value, int width, char pad = '0') { detail::pad_number(out, flag, value, width, pad); };
    const auto nested = [&](std::string_view inner) -> expected<void> {
      TMODEL_TRY(const std::string part, format_time(inner, t));
      out += part;
      return {};
    };
    switch (format[i]) {
      case 'a':
        out += day.substr(0, 3);
        break;
      case 'A':
        out += day;
        break;
      case 'b':
      case 'h':
        out += month.substr(0, 3);
        break;
      case 'B':
        out += month;
        break;
      case 'w':
        number(t.weekday(), 1);
        break;
      case 'u':
        number((t.weekday() + 6) % 7 + 1, 1);
        break;
      case 'd':
        number(t.day, 2);
        break;
      case 'e':
        number(t.day, 2, ' ');
        break;
      case 'm':
        number(t.month, 2);
        break;
      case 'y':
        number(t.year % 100, 2);
        break;
      case 'Y':
        number(t.year, 1);
        break;  // not padded, as glibc has it
      case 'C':
        number(t.year / 100, 2);
        break;
      case 'G':
        number(iso.year, 1);
        break;
      case 'g':
        number(iso.year % 100, 2);
        break;
      case 'V':
        number(iso.week, 2);
        break;
      case 'U':
        number((t.day_of_year() + 7 - t.weekday()) / 7, 2);
        break;
      case 'W':
        number((t.day_of_year() + 7 - (t.weekday() + 6) % 7) / 7, 2);
        break;
      case 'j':
        number(t.day_of_year() + 1, 3);
        break;
      case 'H':
        number(t.hour, 2);
        break;
      case 'k':
        number(t.hour, 2, ' ');
        break;
      case 'I':
        number(hour12, 2);
        break;
      case 'l':
        number(hour12, 2, ' ');
        break;
      case 'M':
        number(t.minute, 2);
        break;
      case 'S':
        number(t.second, 2);
        break;
      case 'f':
        number(t.microsecond, 6);
        break;
      case 'p':
        out += t.hour < 12 ? "AM" : "PM";
        break;
      case 'P':
        out += t.hour < 12 ? "am" : "pm";
        break;
      case 'z':
      case 'Z':
        break;  // empty for a time without a zone
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case '%':
        out += '%';
        break;
      case 'c':
        TMODEL_CHECK(nested("%a %b %e %H:%M:%S %Y"));
        break;
      case 'x':
      case 'D':
        TMODEL_CHECK(nested("%m/%d/%y"));
        break;
      case 'X':
      case 'T':
        TMODEL_CHECK(nested("%H:%M:%S"));
        break;
      case 'R':
        TMODEL_CHECK(nested("%H:%M"));
        break;
      case 'r':
        TMODEL_CHECK(nested("%I:%M:%S %p"));
        break;
      case 'F':
        TMODEL_CHECK(nested("%Y-%m-%d"));
        break;
      default:
        return fail(Errc::unsupported, "strftime: %" + std::string(1, format[i]) + " is not supported");
    }
    if (flag == '^')
      for (std::size_t k = begin; k < out.size(); ++k)
        if (out[k] >= 'a' && out[k] <= 'z') out[k] = static_cast<char>(out[k] - 32);
  }
  return out;
}

}  // namespace jinja
}  // namespace tmodel::inline v0
