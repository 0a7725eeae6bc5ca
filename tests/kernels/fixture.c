#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/model.h"
#include "kernels/random.h"

th_data fixture_data(void) {
  static float features[FIXTURE_ROWS * FIXTURE_WIDTH];
  static int32_t labels[FIXTURE_ROWS];
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
    labels[r] = (int32_t)(th_philox_at(1, r, 0, 0, 0).word[0] % FIXTURE_CLASSES);
    for (uint32_t c = 0; c < FIXTURE_WIDTH; c++) {
      float noise = 2 * th_random_unit(th_philox_at(2, r, c, 0, 0).word[0]) - 1;
      features[r * FIXTURE_WIDTH + c] = noise + (c % FIXTURE_CLASSES == (uint32_t)labels[r]);
    }
  }
  return (th_data){
      .features = features, .labels = labels, .rows = FIXTURE_ROWS, .width = FIXTURE_WIDTH};
}

th_data fixture_grouped_data(void) {
  static int32_t groups[FIXTURE_ROWS];
  th_data data = fixture_data();
  for (uint32_t r = 1; r < FIXTURE_ROWS; r++) {
    bool begins = th_philox_at(3, r, 0, 0, 0).word[0] % 8 == 0;
    groups[r] = (groups[r - 1] + begins) % FIXTURE_GROUPS;
  }
  data.groups = groups;
  return data;
}

th_spec fixture_spec(void) {
  th_spec spec;
  th_spec_init(&spec);
  spec.hidden_count = 2;
  spec.hidden[0] = 150;
  spec.hidden[1] = 70;
  spec.epochs = 4;
  spec.batch_size = 130;
  spec.seed = 5;
  return spec;
}

th_trainer *fixture_trainer(const th_spec *spec, const th_data *data) {
  th_device device;
  th_trainer *trainer;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  cr_assert_eq(th_trainer_create(spec, data, &device, NULL, NULL, &trainer), TH_OK, "%s",
               th_error_text());
  return trainer;
}

void fixture_finish(th_trainer *trainer) {
  th_team *team;
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(th_trainer_advance(trainer, team, INT64_MAX), TH_OK, "%s", th_error_text());
  th_team_destroy(team);
}

float *fixture_parameters(const th_trainer *trainer, uint64_t *count) {
  th_buffer file;
  th_buffer card;
  th_model model;
  th_spec spec;
  float *parameters;
  th_standard standard;
  cr_assert_eq(th_trainer_result(trainer, &file, &card), TH_OK);
  cr_assert_eq(th_model_decode(file.data, file.bytes, &model, &spec, &parameters, &standard), TH_OK,
               "%s", th_error_text());
  *count = model.parameters;
  th_standard_fini(&standard);
  th_buffer_fini(&file);
  th_buffer_fini(&card);
  return parameters;
}

bool fixture_is_same_model(const th_trainer *a, const th_trainer *b) {
  uint64_t count_a;
  uint64_t count_b;
  float *parameters_a = fixture_parameters(a, &count_a);
  float *parameters_b = fixture_parameters(b, &count_b);
  bool is_same =
      count_a == count_b && memcmp(parameters_a, parameters_b, count_a * sizeof *parameters_a) == 0;
  free(parameters_a);
  free(parameters_b);
  return is_same;
}
