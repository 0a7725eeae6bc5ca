/* Writes the manual page of trainhost: copies the page from standard input and puts, in place of
 * the line "@FIELDS@", a paragraph for each field of the table that the flags are made of. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"

enum { LINE_BYTES_MAX = 4096 };

/* scdoc takes _ for the beginning of an underlined word. */
static void text_put(const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '_' || *text == '*') putchar('\\');
    putchar(*text);
  }
}

static void flag_put(const struct argp_option *row) {
  printf("*--%s*", row->name);
  if (row->arg != NULL) {
    fputs(" _", stdout);
    text_put(row->arg);
    putchar('_');
  }
}

/* The opposite of a flag stands beside it. */
static const struct argp_option *field_put(const struct argp_option *row) {
  flag_put(row);
  bool has_opposite = row[1].name != NULL && strncmp(row[1].name, "no-", 3) == 0;
  if (has_opposite) {
    fputs(", ", stdout);
    flag_put(row + 1);
  }
  fputs("\n\t", stdout);
  text_put(row->doc);
  fputs(".\n\n", stdout);
  return row + 1 + has_opposite;
}

int main(void) {
  char line[LINE_BYTES_MAX];
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strcmp(line, "@FIELDS@\n") != 0) {
      fputs(line, stdout);
      continue;
    }
    for (const struct argp_option *row = th_fields_rows(); row->name != NULL;) row = field_put(row);
  }
  return ferror(stdin) || fflush(stdout) != 0;
}
