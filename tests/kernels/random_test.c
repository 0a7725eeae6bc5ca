#include "kernels/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void check_philox(uint64_t seed, const uint32_t counter[4], const uint32_t expected[4]) {
  th_philox block = th_philox_at(seed, counter[0], counter[1], counter[2], counter[3]);
  for (int i = 0; i < 4; i++) cr_assert_eq(block.word[i], expected[i]);
}

/* The known answers of philox4x32-10 that come with Random123 (its file kat_vectors). */
Test(random, philox_gives_the_known_answers) {
  check_philox(0, (uint32_t[]){0, 0, 0, 0},
               (uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_philox(UINT64_MAX, (uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
               (uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_philox(0x299f31d0a4093822, (uint32_t[]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
               (uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

Test(random, unit_lies_in_zero_to_below_one) {
  cr_assert_eq(th_random_unit(0), 0.0F);
  cr_assert_lt(th_random_unit(UINT32_MAX), 1.0F);
  cr_assert_gt(th_random_unit(UINT32_MAX), 0.9999999F);
}

Test(random, dropout_bits_are_all_of_a_block_each_once) {
  th_philox block = {{0x00010000, 0x00030002, 0x00050004, 0x00070006}};
  for (uint32_t lane = 0; lane < TH_DROPOUT_COLUMNS; lane++)
    cr_assert_eq(th_dropout_bits(block, lane), lane);
}

Test(random, dropout_threshold_is_a_share_of_16_bits) {
  cr_assert_eq(th_dropout_threshold(0), 0);
  cr_assert_eq(th_dropout_threshold(0.5), 32768);
  cr_assert_eq(th_dropout_threshold(0.25), 16384);
  cr_assert_eq(th_dropout_threshold(0.9999999), 65535, "something is always kept");
}

Test(random, dropout_drops_its_share) {
  enum { BLOCKS = 20000 };
  uint32_t threshold = th_dropout_threshold(0.3);
  uint32_t dropped = 0;
  for (uint32_t b = 0; b < BLOCKS; b++)
    for (uint32_t lane = 0; lane < TH_DROPOUT_COLUMNS; lane++)
      dropped += th_dropout_bits(th_philox_at(3, 1, 2, 0, b), lane) < threshold;
  /* Five standard deviations of a binomial count are 0.57 %. */
  cr_assert_float_eq(dropped / (double)(BLOCKS * TH_DROPOUT_COLUMNS), 0.3, 0.0057);
}

static void check_is_bijection(const th_permutation *order) {
  uint8_t *seen = calloc(order->count, 1);
  for (uint32_t i = 0; i < order->count; i++) {
    uint32_t place = th_permutation_at(order, i);
    cr_assert_lt(place, order->count);
    cr_assert_eq(seen[place]++, 0, "%u of %u is hit twice", place, order->count);
  }
  free(seen);
}

Test(random, a_permutation_hits_every_place_once) {
  for (uint32_t count = 1; count <= 300; count++) {
    th_permutation order = th_permutation_draw(count, 7, TH_RANDOM_SHUFFLE, count);
    check_is_bijection(&order);
  }
  static const uint32_t counts[] = {4095, 4096, 4097, 60000, 65537, 100003};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    th_permutation order = th_permutation_draw(counts[i], 7, TH_RANDOM_SPLIT, 0);
    check_is_bijection(&order);
  }
}

Test(random, the_largest_permutation_stays_inside) {
  th_permutation order = th_permutation_draw(UINT32_MAX, 7, TH_RANDOM_SHUFFLE, 1);
  for (uint32_t i = 0; i < 1000; i++) cr_assert_lt(th_permutation_at(&order, i), UINT32_MAX);
  cr_assert_lt(th_permutation_at(&order, UINT32_MAX - 1), UINT32_MAX);
}

Test(random, the_identity_moves_nothing) {
  th_permutation order = th_permutation_identity(UINT32_MAX);
  cr_assert_eq(th_permutation_at(&order, 0), 0);
  cr_assert_eq(th_permutation_at(&order, UINT32_MAX - 1), UINT32_MAX - 1);
}

Test(random, orders_depend_on_seed_and_purpose_and_number) {
  th_permutation orders[] = {th_permutation_draw(1000, 1, TH_RANDOM_SHUFFLE, 1),
                             th_permutation_draw(1000, 2, TH_RANDOM_SHUFFLE, 1),
                             th_permutation_draw(1000, 1, TH_RANDOM_SPLIT, 1),
                             th_permutation_draw(1000, 1, TH_RANDOM_SHUFFLE, 2)};
  for (int a = 0; a < 4; a++)
    for (int b = a + 1; b < 4; b++) {
      int same = 0;
      for (uint32_t i = 0; i < 1000; i++)
        same += th_permutation_at(&orders[a], i) == th_permutation_at(&orders[b], i);
      /* Two random orders agree in one place on average; in twelve once in 10^9 cases. */
      cr_assert_lt(same, 12, "orders %d and %d agree in %d of 1000 places", a, b, same);
    }
}

/* The number of a permutation, in the order of their digits. */
static uint32_t permutation_rank(const uint32_t *places, uint32_t count) {
  uint32_t rank = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t smaller = 0;
    for (uint32_t j = i + 1; j < count; j++) smaller += places[j] < places[i];
    rank = rank * (count - i) + smaller;
  }
  return rank;
}

/* @param drawn  whether each order is drawn, or all are one with another tweak. */
static void check_is_uniform(uint32_t count, uint32_t permutations, double chi_square_max,
                             bool drawn) {
  enum { DRAWS_EACH = 50, PERMUTATIONS_MAX = 5040, ELEMENTS_MAX = 7 };
  static uint32_t hits[PERMUTATIONS_MAX];
  memset(hits, 0, sizeof hits);
  for (uint32_t draw = 0; draw < permutations * DRAWS_EACH; draw++) {
    th_permutation order = th_permutation_draw(count, 99, TH_RANDOM_SHUFFLE, drawn ? draw : 0);
    uint32_t places[ELEMENTS_MAX], tweak = drawn ? 0 : th_permutation_mix(draw);
    for (uint32_t i = 0; i < count; i++) places[i] = th_permutation_tweaked_at(&order, tweak, i);
    hits[permutation_rank(places, count)]++;
  }
  double chi_square = 0;
  for (uint32_t p = 0; p < permutations; p++)
    chi_square += (hits[p] - (double)DRAWS_EACH) * (hits[p] - (double)DRAWS_EACH) / DRAWS_EACH;
  cr_assert_lt(chi_square, chi_square_max, "%u elements: chi-square %g", count, chi_square);
}

/* The bounds are the 99.99th percentiles of chi-square for one permutation less than there are. */
Test(random, small_orders_are_uniform) {
  for (int drawn = 0; drawn < 2; drawn++) {
    check_is_uniform(2, 2, 15.1, drawn);
    check_is_uniform(3, 6, 25.7, drawn);
    check_is_uniform(4, 24, 57.6, drawn);
    check_is_uniform(5, 120, 184.2, drawn);
    check_is_uniform(7, 5040, 5420, drawn);
  }
}

Test(random, an_order_of_tweak_zero_is_the_one_drawn) {
  th_permutation order = th_permutation_draw(1000, 7, TH_RANDOM_SHUFFLE, 1);
  for (uint32_t i = 0; i < 1000; i++)
    cr_assert_eq(th_permutation_tweaked_at(&order, 0, i), th_permutation_at(&order, i));
}

/* Where the first three of 1024 elements come from, in 8 × 8 × 8 boxes. */
Test(random, large_orders_scatter_neighbours) {
  enum { BOXES = 512, DRAWS_EACH = 50 };
  uint32_t hits[BOXES] = {0};
  for (uint32_t draw = 0; draw < BOXES * DRAWS_EACH; draw++) {
    th_permutation order = th_permutation_draw(1024, 99, TH_RANDOM_SHUFFLE, draw);
    uint32_t box = 0;
    for (uint32_t i = 0; i < 3; i++) box = box * 8 + th_permutation_at(&order, i) / 128;
    hits[box]++;
  }
  double chi_square = 0;
  for (uint32_t b = 0; b < BOXES; b++)
    chi_square += (hits[b] - (double)DRAWS_EACH) * (hits[b] - (double)DRAWS_EACH) / DRAWS_EACH;
  cr_assert_lt(chi_square, 640, "chi-square %g of 511 degrees of freedom", chi_square);
}
