/* What the launcher says, and the texts it makes. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EX_USAGE = 64, EX_DATAERR = 65, EX_UNAVAILABLE = 69, EX_OSERR = 71, EX_NOPERM = 77 };

static char why[2048]; /* why the places so far would not do, for the one message about it */

/* One line, whatever bytes a path in it has: they must not steer a terminal. */
static void say_list(const char *start, const char *format, va_list arguments) {
  char line[6144];
  size_t used = (size_t)snprintf(line, sizeof line, "davit: %s", start);
  vsnprintf(line + used, sizeof line - used, format, arguments);
  for (char *at = line; *at; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f) *at = '?';
  fprintf(stderr, "%s\n", line);
}

__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say_list("", format, arguments);
  va_end(arguments);
}

__attribute__((noreturn, format(printf, 2, 3)))
static void die(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say_list("cannot start: ", format, arguments);
  va_end(arguments);
  exit(status);
}

/* Notes that a place will not do; always false. errno stays what it was: it may say what to do next. */
static bool refuse(const char *path, const char *reason) {
  int error = errno;
  size_t used = strlen(why);
  snprintf(why + used, sizeof why - used, "%s%s: %s", used ? "; " : "", path, reason);
  errno = error;
  return false;
}

/* Never freed: it is all wanted until execve(2). */
__attribute__((format(printf, 1, 2)))
static char *formatted(const char *format, ...) {
  va_list arguments;
  char *text;
  va_start(arguments, format);
  if (vasprintf(&text, format, arguments) < 0) die(EX_OSERR, "no memory");
  va_end(arguments);
  return text;
}

/* Whether JavaScript can have this text: UTF-8 without surrogates or longer forms than are needed. */
static bool is_utf8(const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at;) {
    unsigned first = *at++, more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if ((first >= 0x80 && first < 0xc2) || first > 0xf4) return false;
    unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80; /* of the second byte only */
    unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (; more > 0; more--, at++, low = 0x80, high = 0xbf)
      if (*at < low || *at > high) return false;
  }
  return true;
}
