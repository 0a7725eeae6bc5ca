#include "cli/fields.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "formats/file.h"

/* ---- rows ---- */

enum { NAME_BYTES = 64, DOC_BYTES = 192, ARG_BYTES = 64, OPPOSITE_BYTES = 96 };

/* What the rows point to lives as long as the process. */
static struct {
  struct argp_option rows[2 * TH_FIELDS_MAX + 2];
  char names[TH_FIELDS_MAX][NAME_BYTES]; /* "no-shuffle"; the positive flag is a part of it */
  char docs[TH_FIELDS_MAX][DOC_BYTES];
  char args[TH_FIELDS_MAX][ARG_BYTES];
} made;

/* Apart from the names that they are made of, so that the compiler sees that the two do not
 * overlap. */
static char opposites[TH_FIELDS_MAX][OPPOSITE_BYTES];

/* What stands for the value in the help: the choices themselves, where there are some. */
static const char *arg_of(const th_spec_field *field, char text[ARG_BYTES]) {
  switch (field->kind) {
    case TH_SPEC_TEXT:
      return "TEXT";
    case TH_SPEC_BOOL:
      return "true|false";
    case TH_SPEC_COUNT:
    case TH_SPEC_SEED:
      return "N";
    case TH_SPEC_NUMBER:
      return "X";
    case TH_SPEC_COUNTS:
      return "N,N,...";
    case TH_SPEC_CHOICE:
    case TH_SPEC_CHOICES:
    case TH_SPEC_WEIGHTS:
      break;
  }
  size_t used = 0;
  for (size_t i = 0; field->choices[i] != NULL && used < ARG_BYTES; i++)
    used += (size_t)snprintf(text + used, ARG_BYTES - used, "%s%s", i > 0 ? "|" : "",
                             field->choices[i]);
  if (field->kind == TH_SPEC_WEIGHTS && used < ARG_BYTES)
    snprintf(text + used, ARG_BYTES - used, "|X,X,...");
  return text;
}

/* argp sorts the rows of a group by name, and the fields have an order that means something: so
 * each is its own group. */
static struct argp_option *row_make(struct argp_option *row, const th_spec_field *field, int index,
                                    int group) {
  /* One text serves both flags: the positive name is the end of the negative one. */
  char *name = made.names[index];
  snprintf(name, NAME_BYTES, "no-%s", field->name);
  for (char *at = name; *at != '\0'; at++)
    if (*at == '_') *at = '-';
  bool has_default = field->fallback[0] != '\0';
  snprintf(made.docs[index], DOC_BYTES, "%s (default %s)", field->help,
           has_default ? field->fallback : "none");
  *row = (struct argp_option){.name = name + strlen("no-"),
                              .key = TH_FLAG_FIELD + index,
                              .arg = arg_of(field, made.args[index]),
                              .doc = made.docs[index],
                              .group = group};
  if (field->kind != TH_SPEC_BOOL) return row + 1;
  row->flags = OPTION_ARG_OPTIONAL;
  snprintf(opposites[index], OPPOSITE_BYTES, "The same as --%s=false", row->name);
  row[1] = (struct argp_option){
      .name = name, .key = TH_FLAG_NO_FIELD + index, .doc = opposites[index], .group = group};
  return row + 2;
}

const struct argp_option *th_fields_rows(void) {
  if (made.rows[0].doc != NULL) return made.rows;
  size_t count;
  const th_spec_field *fields = th_spec_fields(&count);
  th_check(count <= TH_FIELDS_MAX);
  struct argp_option *row = made.rows;
  for (size_t i = 0; i < count; i++)
    row = row_make(row, &fields[i], (int)i, (int)i + TH_GROUP_FIELDS);
  return made.rows;
}

/* ---- the specification ---- */

/* The fields that flags set, as JSON: the same rules make it of them that read any specification.
 */
static th_error flags_to_json(const th_arguments *arguments, json_t *into) {
  th_spec spec;
  th_spec_init(&spec);
  size_t count;
  const th_spec_field *fields = th_spec_fields(&count);
  th_error error = TH_OK;
  for (size_t i = 0; i < count && error == TH_OK; i++)
    if (arguments->fields[i] != NULL)
      error = th_spec_set(&spec, fields[i].name, arguments->fields[i]);
  th_buffer text = {0};
  if (error == TH_OK) error = th_spec_format(&spec, &text);
  if (error != TH_OK) return error;
  json_t *all = json_loadb(text.data, text.bytes, 0, NULL);
  th_buffer_fini(&text);
  bool is_whole = all != NULL;
  for (size_t i = 0; i < count && is_whole; i++)
    if (arguments->fields[i] != NULL)
      is_whole = json_object_set(into, fields[i].name, json_object_get(all, fields[i].name)) == 0;
  json_decref(all);
  return is_whole ? TH_OK : th_fail(TH_ERR_SYSTEM, "no memory for a specification");
}

static th_error profile_to_json(const th_arguments *arguments, json_t *into) {
  if (arguments->profile == NULL ||
      json_object_set_new(into, "profile", json_string(arguments->profile)) == 0)
    return TH_OK;
  return th_fail(TH_ERR_USAGE, "--profile is no valid UTF-8 text");
}

/* Rows of their own validate, and no fraction, not even a profile's. Their number is known only
 * when they have been read; until then there is at least one. */
static th_error validation_to_json(const th_arguments *arguments, json_t *into) {
  if (arguments->validation_files[TH_ARRAY_FEATURES] == NULL) return TH_OK;
  if (json_number_value(json_object_get(into, "validation_split")) > 0 ||
      json_number_value(json_object_get(into, "validation_rows")) > 0)
    return th_fail(TH_ERR_USAGE,
                   "--validation-data is given and validation_split or validation_rows too: the "
                   "rows that validate come from one place");
  if (json_object_set_new(into, "validation_split", json_integer(0)) == 0 &&
      json_object_set_new(into, "validation_rows", json_integer(1)) == 0)
    return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory for a specification");
}

/* The file's object as it is, which the flags are merged into: judged before that, a field that a
 * flag puts right would be an error. What is no object at all is left to th_spec_parse to tell. */
static th_error file_to_json(const char *path, json_t **object) {
  th_buffer file;
  th_error error = th_file_read(path, &file);
  if (error != TH_OK) return error;
  *object = json_loadb(file.data, file.bytes, JSON_REJECT_DUPLICATES, NULL);
  if (!json_is_object(*object)) {
    th_spec unused;
    error = th_spec_parse(file.data, file.bytes, &unused);
    if (error != TH_OK) error = th_fail(error, "%s: %s", path, th_error_text());
    json_decref(*object);
    *object = json_object();
  }
  th_buffer_fini(&file);
  return error;
}

static th_error object_to_spec(json_t *object, th_spec *spec) {
  char *text = json_dumps(object, JSON_COMPACT);
  if (text == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a specification");
  th_error error = th_spec_parse(text, strlen(text), spec);
  free(text);
  return error;
}

th_error th_fields_spec(const th_arguments *arguments, th_spec *spec) {
  json_t *object = NULL;
  th_error error = TH_OK;
  if (arguments->spec != NULL)
    error = file_to_json(arguments->spec, &object);
  else
    object = json_object();
  if (error == TH_OK) error = flags_to_json(arguments, object);
  if (error == TH_OK) error = profile_to_json(arguments, object);
  if (error == TH_OK) error = validation_to_json(arguments, object);
  if (error == TH_OK) {
    error = object_to_spec(object, spec);
    if (error == TH_ERR_USAGE && arguments->spec != NULL)
      error = th_fail(error, "%s: %s", arguments->spec, th_error_text());
  }
  json_decref(object);
  return error;
}
