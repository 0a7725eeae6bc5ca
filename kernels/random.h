/**
 * Random numbers that are a function of seed and place, never of order: the same on every device
 * and for every number of threads.
 *
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) gives the
 * numbers, a keyed Feistel network gives the permutations.
 */
#ifndef TH_KERNELS_RANDOM_H
#define TH_KERNELS_RANDOM_H

#include <stdint.h>

#include "kernels/real.h"

typedef struct th_philox {
  uint32_t word[4];
} th_philox;

/**
 * What a number is for, in the fourth word of its counter. Dropout has that word to itself below
 * 2^29, where it holds column / 8, so no two purposes ever share a counter.
 */
enum {
  TH_RANDOM_PARAMETERS = 0x70000001,
  TH_RANDOM_SHUFFLE = 0x70000002,
  TH_RANDOM_SPLIT = 0x70000003,
  TH_RANDOM_IMPORTANCE = 0x70000004,
  TH_RANDOM_SAMPLING = 0x70000005,
};

/** The block of 128 random bits at a counter. The key is the seed. */
TH_HOST_DEVICE th_philox th_philox_at(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2,
                                      uint32_t c3) {
  const uint64_t low = UINT32_MAX;
  uint32_t k0 = (uint32_t)seed;
  uint32_t k1 = (uint32_t)(seed >> 32);
  /* Each counter word lies in the lower half of 64 bits, and whatever is above it is cut off where
   * it would matter: so a loop over blocks vectorizes without a change of width between rounds. */
  uint64_t w0 = c0, w1 = c1, w2 = c2, w3 = c3;
  /* Unrolled for the same reason. */
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    uint64_t even = UINT32_C(0xD2511F53) * (w0 & low);
    uint64_t odd = UINT32_C(0xCD9E8D57) * (w2 & low);
    w0 = (odd >> 32) ^ w1 ^ k0;
    w1 = odd;
    w2 = (even >> 32) ^ w3 ^ k1;
    w3 = even;
    k0 += UINT32_C(0x9E3779B9);
    k1 += UINT32_C(0xBB67AE85);
  }
  return (th_philox){{(uint32_t)w0, (uint32_t)w1, (uint32_t)w2, (uint32_t)w3}};
}

/** A number in [0, 1) from 32 random bits; exact in float. */
TH_HOST_DEVICE float th_random_unit(uint32_t bits) {
  return (float)(bits >> 8) * 0x1p-24F;
}

/** One block of dropout decides over this many columns of a row, 16 bits each. */
#define TH_DROPOUT_COLUMNS 8

/** The 16-bit bound below which a column is dropped: the probability within 2^-17, and below 1. */
TH_HOST_DEVICE uint32_t th_dropout_threshold(double probability) {
  uint32_t threshold = (uint32_t)(probability * 65536.0 + 0.5);
  return threshold < UINT16_MAX ? threshold : UINT16_MAX;
}

/**
 * The number of a layer in the counters of dropout, where hidden layers have their own, from 0:
 * what goes up from recurrent layer `cell` at a time of its window, both below 2^15.
 */
TH_HOST_DEVICE uint32_t th_dropout_recurrent(uint32_t cell, uint32_t time) {
  return (cell + 1) << 16 | time;
}

/**
 * The 16 bits that decide about column 8·block + lane of a layer, for the row'th row of a step's
 * batch: the column is dropped if they are below the threshold.
 *
 * @param bits  th_philox_at(seed, step, row, layer, block).
 */
TH_HOST_DEVICE uint16_t th_dropout_bits(th_philox bits, uint32_t lane) {
  return (uint16_t)(bits.word[lane / 2] >> (16 * (lane % 2)));
}

/* A network on few bits takes many rounds until all orders are equally likely: 24 are not enough
 * for eight elements, 32 are. On more bits, 12 rounds of well mixed halves are already more than
 * the 7 that suffice against an adversary (Patarin, CRYPTO 2003). */
#define TH_PERMUTATION_ROUNDS_MAX 32
#define TH_PERMUTATION_ROUNDS_WIDE 12
#define TH_PERMUTATION_WIDE_BITS 9

/** A bijection on [0, count) that needs no memory and can be asked at any place. */
typedef struct th_permutation {
  uint32_t count;
  uint32_t rounds; /**< 0: the identity */
  uint32_t left_bits, right_bits;
  uint32_t keys[TH_PERMUTATION_ROUNDS_MAX];
} th_permutation;

/** The order that leaves everything where it is. */
TH_HOST_DEVICE th_permutation th_permutation_identity(uint32_t count) {
  return (th_permutation){.count = count};
}

/** Draw a permutation. @param purpose  TH_RANDOM_SHUFFLE, …; @param number  the epoch, say. */
TH_HOST_DEVICE th_permutation th_permutation_draw(uint32_t count, uint64_t seed, uint32_t purpose,
                                                  uint32_t number) {
  th_permutation order = {.count = count};
  uint32_t bits = 0;
  while (bits < 32 && (count - 1) >> bits != 0) bits++;
  order.rounds =
      bits < TH_PERMUTATION_WIDE_BITS ? TH_PERMUTATION_ROUNDS_MAX : TH_PERMUTATION_ROUNDS_WIDE;
  order.left_bits = bits / 2;
  order.right_bits = bits - bits / 2;
  for (uint32_t i = 0; i < order.rounds; i += 4) {
    th_philox block = th_philox_at(seed, number, i, 0, purpose);
    for (uint32_t j = 0; j < 4; j++) order.keys[i + j] = block.word[j];
  }
  return order;
}

/** Every bit of the result depends on every bit of x. Source: MurmurHash3's finalizer (Appleby). */
TH_HOST_DEVICE uint32_t th_permutation_mix(uint32_t x) {
  x ^= x >> 16;
  x *= UINT32_C(0x85EBCA6B);
  x ^= x >> 13;
  x *= UINT32_C(0xC2B2AE35);
  return x ^ (x >> 16);
}

/** One pass through the network: a bijection on [0, 2^(left_bits + right_bits)). */
TH_HOST_DEVICE uint32_t th_permutation_pass(const th_permutation *order, uint32_t tweak,
                                            uint32_t index) {
  uint32_t left = (uint32_t)((uint64_t)index >> order->right_bits);
  uint32_t right = index & (uint32_t)((UINT64_C(1) << order->right_bits) - 1);
  uint32_t left_mask = (UINT32_C(1) << order->left_bits) - 1;
  uint32_t right_mask = (UINT32_C(1) << order->right_bits) - 1;
  for (uint32_t i = 0; i < order->rounds; i += 2) {
    left ^= th_permutation_mix(right ^ order->keys[i] ^ tweak) & left_mask;
    right ^= th_permutation_mix(left ^ order->keys[i + 1] ^ tweak) & right_mask;
  }
  return (left << order->right_bits) | right;
}

/**
 * Where the index'th element comes from.
 *
 * The network permutes the next power of two; a place outside [0, count) is sent through again
 * until it falls inside ("cycle walking", Black and Rogaway, CT-RSA 2002), twice on average at
 * most, and always: the cycle leads back to index, which is inside.
 */
TH_HOST_DEVICE uint32_t th_permutation_at(const th_permutation *order, uint32_t index) {
  if (order->rounds == 0) return index;
  do index = th_permutation_pass(order, 0, index);
  while (index >= order->count);
  return index;
}

/**
 * The same of one of 2^32 permutations that come with a drawn one and cost no draw: the tweak
 * enters every round beside the key (Goldenberg et al., "On tweaking Luby-Rackoff blockciphers",
 * ASIACRYPT 2007). Tweak 0 is the drawn one itself.
 *
 * @param tweak  well mixed: what only differs in a few low bits would exchange halves.
 */
TH_HOST_DEVICE uint32_t th_permutation_tweaked_at(const th_permutation *order, uint32_t tweak,
                                                  uint32_t index) {
  do index = th_permutation_pass(order, tweak, index);
  while (index >= order->count);
  return index;
}

#endif
