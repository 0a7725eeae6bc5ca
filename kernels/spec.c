#include "kernels/spec.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/nearest.h"
#include "kernels/spec_table.h"

/* ---- what the table of fields is unfolded to ---- */

#define AS_FIELD(member, kind, fallback, choices, range, help) \
  {#member, kind, fallback, help, choices},
static const th_spec_field fields[] = {FIELDS(AS_FIELD)};

#define AS_NAME(member, kind, fallback, choices, range, help) #member,
static const char *const names[] = {FIELDS(AS_NAME)};

#define AS_PLACE(member, kind, fallback, choices, range, help) {offsetof(th_spec, member), range},
static const struct {
  size_t offset;
  field_range range;
} places[] = {FIELDS(AS_PLACE)};

enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

const th_spec_field *th_spec_fields(size_t *count) {
  *count = FIELD_COUNT;
  return fields;
}

/* ---- errors ---- */

enum { SHOWN_BYTES_MAX = 60 };

/* What was found, as JSON in plain ASCII: it can be cut anywhere and upsets no terminal. */
static char *value_show(json_t *value) {
  return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
}

/* "learning_rate is "fast"; it must be …" */
static th_error fail_value(size_t index, json_t *value, const char *wanted) {
  char *found = value_show(value);
  th_error error = th_fail(TH_ERR_USAGE, "%s is %.*s; it must be %s", names[index], SHOWN_BYTES_MAX,
                           found == NULL ? "unreadable" : found, wanted);
  free(found);
  return error;
}

static th_error fail_unknown(const char *name) {
  json_t *value = json_string(name);
  char *found = value_show(value);
  const char *shown = found == NULL ? "of a name that is no text" : found;
  size_t nearest = th_nearest(name, names, FIELD_COUNT);
  th_error error =
      nearest < FIELD_COUNT
          ? th_fail(TH_ERR_USAGE, "there is no field %.*s; did you mean \"%s\"?", SHOWN_BYTES_MAX,
                    shown, names[nearest])
          : th_fail(TH_ERR_USAGE, "there is no field %.*s; trainhost train --help lists them",
                    SHOWN_BYTES_MAX, shown);
  free(found);
  json_decref(value);
  return error;
}

/* ---- one field from JSON ---- */

static th_error set_text(size_t index, json_t *value, char *text) {
  size_t bytes = json_string_length(value);
  if (!json_is_string(value) || bytes >= TH_SPEC_NAME_BYTES_MAX)
    return fail_value(index, value, "a text of at most 63 bytes");
  memcpy(text, json_string_value(value), bytes + 1);
  return TH_OK;
}

static th_error set_bool(size_t index, json_t *value, bool *flag) {
  if (!json_is_boolean(value)) return fail_value(index, value, "true or false");
  *flag = json_is_true(value);
  return TH_OK;
}

static th_error set_count(size_t index, json_t *value, uint32_t *count) {
  const field_range *range = &places[index].range;
  json_int_t number = json_integer_value(value);
  if (!json_is_integer(value) || (double)number < range->least || (double)number > range->most)
    return fail_value(index, value, range->words);
  *count = (uint32_t)number;
  return TH_OK;
}

static th_error set_number(size_t index, json_t *value, double *number) {
  const field_range *range = &places[index].range;
  double given = json_number_value(value);
  if (!json_is_number(value) || !(given >= range->least && given <= range->most))
    return fail_value(index, value, range->words);
  *number = given;
  return TH_OK;
}

static bool digits_read(const char *text, uint64_t *number) {
  *number = 0;
  if (*text == '\0') return false;
  for (; *text >= '0' && *text <= '9'; text++)
    if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
        __builtin_add_overflow(*number, (uint64_t)(*text - '0'), number))
      return false;
  return *text == '\0';
}

/* The upper half of the seeds does not fit the integers of most JSON readers: it comes as a text.
 */
static th_error set_seed(size_t index, json_t *value, uint64_t *seed) {
  uint64_t number = (uint64_t)json_integer_value(value);
  bool is_seed = json_is_string(value) ? digits_read(json_string_value(value), &number)
                                       : json_is_integer(value) && json_integer_value(value) >= 0;
  if (!is_seed)
    return fail_value(index, value,
                      "a whole number from 0 to 18446744073709551615, as a text where JSON's "
                      "integers end");
  *seed = number;
  return TH_OK;
}

static th_error set_choice(size_t index, json_t *value, int *choice) {
  const char *const *words = fields[index].choices;
  const char *given = json_string_value(value);
  char wanted[128] = "one of";
  size_t count = 0;
  for (; words[count] != NULL; count++) {
    if (given != NULL && strcmp(given, words[count]) == 0) {
      *choice = (int)count;
      return TH_OK;
    }
    strcat(strcat(wanted, count == 0 ? " " : ", "), words[count]);
  }
  size_t nearest = given == NULL ? count : th_nearest(given, words, count);
  if (nearest == count) return fail_value(index, value, wanted);
  return th_fail(TH_ERR_USAGE, "%s is \"%.*s\"; did you mean \"%s\"? It must be %s", names[index],
                 SHOWN_BYTES_MAX, given, words[nearest], wanted);
}

static th_error set_choices(size_t index, json_t *value, th_spec *spec) {
  size_t count = json_is_array(value) ? json_array_size(value) : 1;
  if (count == 0 || count > TH_HIDDEN_LAYERS_MAX)
    return fail_value(index, value, "a word, or a list of 1 to 64 of them");
  for (size_t i = 0; i < count; i++) {
    int choice;
    th_error error =
        set_choice(index, json_is_array(value) ? json_array_get(value, i) : value, &choice);
    if (error != TH_OK) return error;
    spec->activation[i] = (th_activation)choice;
  }
  spec->activation_count = (uint32_t)count;
  return TH_OK;
}

static th_error set_weights(size_t index, json_t *value, th_spec *spec) {
  static const char wanted[] =
      "none, balanced, or a list of at most 1024 numbers, 0 or above and one of them above 0";
  if (json_is_string(value)) {
    int choice;
    th_error error = set_choice(index, value, &choice);
    if (error == TH_OK) spec->weighting = (th_weighting)choice;
    return error;
  }
  size_t count = json_array_size(value);
  if (!json_is_array(value) || count > TH_CLASS_WEIGHTS_MAX)
    return fail_value(index, value, wanted);
  double largest = 0;
  for (size_t i = 0; i < count; i++) {
    json_t *weight = json_array_get(value, i);
    spec->class_weights[i] = json_number_value(weight);
    if (!json_is_number(weight) || spec->class_weights[i] < 0)
      return fail_value(index, value, wanted);
    largest = fmax(largest, spec->class_weights[i]);
  }
  if (largest == 0) return fail_value(index, value, wanted);
  spec->weighting = TH_WEIGHTING_LISTED;
  spec->class_weight_count = (uint32_t)count;
  return TH_OK;
}

static th_error set_hidden(size_t index, json_t *value, th_spec *spec) {
  static const char wanted[] = "a list of at most 64 widths, each from 1 to 65536";
  size_t count = json_array_size(value);
  if (!json_is_array(value) || count > TH_HIDDEN_LAYERS_MAX)
    return fail_value(index, value, wanted);
  for (size_t i = 0; i < count; i++) {
    json_t *width = json_array_get(value, i);
    json_int_t number = json_integer_value(width);
    if (!json_is_integer(width) || number < 1 || number > TH_HIDDEN_WIDTH_MAX)
      return fail_value(index, value, wanted);
    spec->hidden[i] = (uint32_t)number;
  }
  spec->hidden_count = (uint32_t)count;
  return TH_OK;
}

/* The enumerations are ints to the compiler, and so to this table. */
_Static_assert(sizeof(th_activation) == sizeof(int), "set_choice writes an int");

static th_error field_set(th_spec *spec, size_t index, json_t *value) {
  void *place = (char *)spec + places[index].offset;
  switch (fields[index].kind) {
    case TH_SPEC_TEXT:
      return set_text(index, value, place);
    case TH_SPEC_BOOL:
      return set_bool(index, value, place);
    case TH_SPEC_COUNT:
      return set_count(index, value, place);
    case TH_SPEC_SEED:
      return set_seed(index, value, place);
    case TH_SPEC_NUMBER:
      return set_number(index, value, place);
    case TH_SPEC_CHOICE:
      return set_choice(index, value, place);
    case TH_SPEC_CHOICES:
      return set_choices(index, value, spec);
    case TH_SPEC_WEIGHTS:
      return set_weights(index, value, spec);
    case TH_SPEC_COUNTS:
      return set_hidden(index, value, spec);
  }
  return TH_OK;
}

/* ---- one field from text: made JSON, and then the same ---- */

/* A JSON number if the whole text is one, else the text itself, for the error to show. jansson
 * reads numbers the same in every locale. */
static json_t *number_from_text(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  if (json_is_number(value)) return value;
  json_decref(value);
  return json_string(text);
}

static json_t *bool_from_text(const char *text) {
  if (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "1") == 0)
    return json_true();
  if (strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "0") == 0)
    return json_false();
  return json_string(text);
}

/* "256,128,100"; an empty text is an empty list. */
static json_t *list_from_text(const char *text, json_t *item_from_text(const char *text)) {
  json_t *list = json_array();
  while (*text != '\0') {
    char item[32];
    size_t length = strcspn(text, ",");
    snprintf(item, sizeof item, "%.*s", (int)(length < sizeof item ? length : sizeof item - 1),
             text);
    json_array_append_new(list, item_from_text(item));
    text += length;
    if (*text == ',' && *++text == '\0') json_array_append_new(list, json_string(""));
  }
  return list;
}

static bool is_word(const char *text) {
  return *text >= 'a' && *text <= 'z';
}

static json_t *value_from_text(th_spec_field_kind kind, const char *text) {
  switch (kind) {
    case TH_SPEC_TEXT:
    case TH_SPEC_SEED:
    case TH_SPEC_CHOICE:
      return json_string(text);
    case TH_SPEC_BOOL:
      return bool_from_text(text);
    case TH_SPEC_COUNT:
    case TH_SPEC_NUMBER:
      return number_from_text(text);
    case TH_SPEC_CHOICES:
      return strchr(text, ',') == NULL ? json_string(text) : list_from_text(text, json_string);
    case TH_SPEC_WEIGHTS:
      return is_word(text) ? json_string(text) : list_from_text(text, number_from_text);
    case TH_SPEC_COUNTS:
      return list_from_text(text, number_from_text);
  }
  return NULL;
}

static size_t field_find(const char *name) {
  size_t index = 0;
  while (index < FIELD_COUNT && strcmp(name, names[index]) != 0) index++;
  return index;
}

th_error th_spec_set(th_spec *spec, const char *name, const char *text) {
  size_t index = field_find(name);
  if (index == FIELD_COUNT) return fail_unknown(name);
  json_t *value = value_from_text(fields[index].kind, text);
  if (value == NULL) return th_fail(TH_ERR_USAGE, "%s is no valid UTF-8 text", name);
  th_error error = field_set(spec, index, value);
  json_decref(value);
  return error;
}

void th_spec_init(th_spec *spec) {
  *spec = (th_spec){0};
  for (size_t i = 0; i < FIELD_COUNT; i++)
    th_check(th_spec_set(spec, names[i], fields[i].fallback) == TH_OK);
}

/* ---- the whole ---- */

/* Not a field: it is gone as soon as its values are there, and a formatted specification says in
 * full what it means. */
#define PROFILE_KEY "profile"

static th_error fields_read(json_t *object, th_spec *spec) {
  const char *name;
  json_t *value;
  json_object_foreach(object, name, value) {
    if (strcmp(name, PROFILE_KEY) == 0) continue;
    size_t index = field_find(name);
    th_error error = index == FIELD_COUNT ? fail_unknown(name) : field_set(spec, index, value);
    if (error != TH_OK) return error;
  }
  return TH_OK;
}

static th_error profile_read(json_t *value, th_spec *spec) {
  char known[96] = "a profile:";
  for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
    strcat(strcat(known, " "), profiles[i].name);
    if (!json_is_string(value) || strcmp(json_string_value(value), profiles[i].name) != 0) continue;
    json_t *object = json_loads(profiles[i].fields, 0, NULL);
    th_error error = object == NULL ? th_fail(TH_ERR_SYSTEM, "no memory for a profile")
                                    : fields_read(object, spec);
    json_decref(object);
    return error;
  }
  char *found = value_show(value);
  th_error error = th_fail(TH_ERR_USAGE, PROFILE_KEY " is %.*s; it must be %s", SHOWN_BYTES_MAX,
                           found == NULL ? "unreadable" : found, known);
  free(found);
  return error;
}

/* The profile first, wherever it stands: what is named beside it takes precedence. */
static th_error object_read(json_t *object, th_spec *spec) {
  if (!json_is_object(object))
    return th_fail(TH_ERR_USAGE, "the specification is no JSON object, as {\"epochs\": 10} is one");
  json_t *profile = json_object_get(object, PROFILE_KEY);
  th_error error = profile == NULL ? TH_OK : profile_read(profile, spec);
  if (error == TH_OK) error = fields_read(object, spec);
  return error == TH_OK ? th_spec_judge(spec) : error;
}

th_error th_spec_parse(const char *text, size_t bytes, th_spec *spec) {
  th_spec parsed;
  th_spec_init(&parsed);
  if (bytes > 0) {
    json_error_t where;
    json_t *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    if (object == NULL)
      return th_fail(TH_ERR_USAGE, "the specification is no JSON: line %d, column %d: %s",
                     where.line, where.column, where.text);
    th_error error = object_read(object, &parsed);
    json_decref(object);
    if (error != TH_OK) return error;
  }
  *spec = parsed;
  return TH_OK;
}

static json_t *hidden_to_json(const th_spec *spec) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < spec->hidden_count; i++) {
    if (json_array_append_new(list, json_integer(spec->hidden[i])) == 0) continue;
    json_decref(list); /* a list without one of its layers would be another net */
    return NULL;
  }
  return list;
}

static json_t *activation_to_json(const th_spec *spec) {
  if (spec->activation_count <= 1) return json_string(activation_words[spec->activation[0]]);
  json_t *list = json_array();
  for (uint32_t i = 0; i < spec->activation_count; i++) {
    if (json_array_append_new(list, json_string(activation_words[spec->activation[i]])) == 0)
      continue;
    json_decref(list);
    return NULL;
  }
  return list;
}

static json_t *weights_to_json(const th_spec *spec) {
  if (spec->weighting != TH_WEIGHTING_LISTED) return json_string(weighting_words[spec->weighting]);
  json_t *list = json_array();
  for (uint32_t i = 0; i < spec->class_weight_count; i++) {
    if (json_array_append_new(list, json_real(spec->class_weights[i])) == 0) continue;
    json_decref(list);
    return NULL;
  }
  return list;
}

static json_t *seed_to_json(uint64_t seed) {
  if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, seed);
  return json_string(text);
}

static json_t *field_to_json(const th_spec *spec, size_t index) {
  const void *place = (const char *)spec + places[index].offset;
  switch (fields[index].kind) {
    case TH_SPEC_TEXT:
      return json_string(place);
    case TH_SPEC_BOOL:
      return json_boolean(*(const bool *)place);
    case TH_SPEC_COUNT:
      return json_integer(*(const uint32_t *)place);
    case TH_SPEC_SEED:
      return seed_to_json(*(const uint64_t *)place);
    case TH_SPEC_NUMBER:
      return json_real(*(const double *)place);
    case TH_SPEC_CHOICE:
      return json_string(fields[index].choices[*(const int *)place]);
    case TH_SPEC_CHOICES:
      return activation_to_json(spec);
    case TH_SPEC_WEIGHTS:
      return weights_to_json(spec);
    case TH_SPEC_COUNTS:
      return hidden_to_json(spec);
  }
  return NULL;
}

th_error th_spec_format(const th_spec *spec, th_buffer *json) {
  json_t *object = json_object();
  bool is_whole = object != NULL;
  for (size_t i = 0; i < FIELD_COUNT && is_whole; i++)
    is_whole = json_object_set_new(object, names[i], field_to_json(spec, i)) == 0;
  /* Measured and then written into memory that is there: jansson's own growing text can lose a
   * piece without a word when memory runs out. */
  size_t bytes = is_whole ? json_dumpb(object, NULL, 0, JSON_COMPACT) : 0;
  char *text = bytes > 0 ? malloc(bytes + 1) : NULL;
  bool is_written = text != NULL && json_dumpb(object, text, bytes, JSON_COMPACT) == bytes;
  json_decref(object);
  if (!is_written) {
    free(text);
    return th_fail(TH_ERR_SYSTEM, "no memory to write a specification");
  }
  text[bytes] = '\0';
  *json = (th_buffer){.data = text, .bytes = bytes};
  return TH_OK;
}

static th_error field_judge_same(size_t index, const json_t *other, const json_t *here) {
  if (other == NULL || here == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory to compare specifications");
  if (json_equal(other, here)) return TH_OK;
  enum { FLAGS = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15) };
  char *other_text = json_dumps(other, FLAGS), *here_text = json_dumps(here, FLAGS);
  th_error error = th_fail(TH_ERR_DATA, "%s is %.100s, and %.100s here", names[index],
                           other_text != NULL ? other_text : "another",
                           here_text != NULL ? here_text : "another");
  free(other_text);
  free(here_text);
  return error;
}

th_error th_spec_judge_same(const th_spec *other, const th_spec *spec) {
  th_error error = TH_OK;
  for (size_t i = 0; i < FIELD_COUNT && error == TH_OK; i++) {
    json_t *theirs = field_to_json(other, i), *ours = field_to_json(spec, i);
    error = field_judge_same(i, theirs, ours);
    json_decref(theirs);
    json_decref(ours);
  }
  return error;
}

const char *th_activation_name(th_activation activation) {
  return activation_words[activation];
}

const char *th_optimizer_name(th_optimizer_kind optimizer) {
  return optimizer_words[optimizer];
}

const char *th_loss_name(th_loss_kind loss) {
  return loss_words[loss];
}
