/** Numbers as a person reads them. */
#ifndef TH_CLI_WORDS_H
#define TH_CLI_WORDS_H

#include <stdint.h>

/** A short text, by value: th_words_bytes(n).text. */
typedef struct th_word {
  char text[32];
} th_word;

/** "188.4 MiB". */
th_word th_words_bytes(uint64_t bytes);

/** "41.2k": three or four digits and a unit of 1000. Takes NaN and any other number. */
th_word th_words_rate(double number);

/** "0:07", "1:02:03", "3 d 04 h"; "?" for NaN, infinity and negative numbers. */
th_word th_words_duration(double seconds);

/** A loss, an accuracy: "0.2541"; "-" for NaN. */
th_word th_words_score(double score);

/** Replace what could steer a terminal by '?', in place. For texts that another program chose. */
void th_words_disarm(char *text);

#endif
