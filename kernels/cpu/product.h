/**
 * The matrix product of small layers. A tile of the result, some rows of some vectors, stays in
 * registers while the whole depth passes by: for each step of depth, a few vectors of `right` and
 * one number of each row of `left`.
 *
 * Included by loops.c alone, which is compiled once for each instruction set.
 */
#ifndef TH_KERNELS_CPU_PRODUCT_H
#define TH_KERNELS_CPU_PRODUCT_H

#include "kernels/cpu/loops.h"

#define VECTOR_LANES (TH_VECTOR_BYTES / sizeof(th_real))
#define PANEL_VECTORS ((uint32_t)(TH_PANEL / VECTOR_LANES))

/* Aligned as a single number, so that strides are free; a vector that happens to be aligned costs
 * nothing more. */
typedef th_real vector
    __attribute__((vector_size(TH_VECTOR_BYTES), aligned(sizeof(th_real)), may_alias));

/* The largest tiles that leave registers for the operands. The tall one is for a panel alone. */
#if TH_VECTOR_BYTES == 64
#define TILE_PANELS_MAX 4
#define TILE_ROWS 6
#define TILE_ROWS_TALL 8
#elif TH_VECTOR_BYTES == 32 || defined(__aarch64__)
#define TILE_PANELS_MAX 1
#define TILE_ROWS 6
#define TILE_ROWS_TALL 6
#else
#define TILE_PANELS_MAX 1
#define TILE_ROWS 2
#define TILE_ROWS_TALL 2
#endif
#define TILE_ROWS_MAX 8
#define TILE_VECTORS_MAX 8

/* `rows` and `vectors` are constants at each place of use, so that all loops but the one over
 * depth dissolve. */
TH_HOST_DEVICE void tile(const th_product *p, uint32_t rows, uint32_t vectors, const th_real *left,
                         const th_real *right, th_real *result) {
  vector sums[TILE_ROWS_MAX][TILE_VECTORS_MAX];
#pragma GCC unroll 8
  for (uint32_t r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (uint32_t v = 0; v < vectors; v++) sums[r][v] = (vector){0};
  for (uint32_t k = 0; k < p->depth; k++, left += p->left_depth, right += p->right_stride) {
    vector rights[TILE_VECTORS_MAX];
#pragma GCC unroll 8
    for (uint32_t v = 0; v < vectors; v++) rights[v] = *(const vector *)(right + v * VECTOR_LANES);
#pragma GCC unroll 8
    for (uint32_t r = 0; r < rows; r++)
#pragma GCC unroll 8
      for (uint32_t v = 0; v < vectors; v++) sums[r][v] += left[r * p->left_row] * rights[v];
  }
#pragma GCC unroll 8
  for (uint32_t r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (uint32_t v = 0; v < vectors; v++)
      *(vector *)(result + r * p->result_stride + v * VECTOR_LANES) = sums[r][v];
}

/* The rows that are left after whole tiles. */
TH_HOST_DEVICE void tile_rest(const th_product *p, uint32_t rows, uint32_t vectors,
                              const th_real *left, const th_real *right, th_real *result) {
  switch (rows) {
    case 1:
      tile(p, 1, vectors, left, right, result);
      return;
    case 2:
      tile(p, 2, vectors, left, right, result);
      return;
    case 3:
      tile(p, 3, vectors, left, right, result);
      return;
    case 4:
      tile(p, 4, vectors, left, right, result);
      return;
    case 5:
      tile(p, 5, vectors, left, right, result);
      return;
    case 6:
      tile(p, 6, vectors, left, right, result);
      return;
    case 7:
      tile(p, 7, vectors, left, right, result);
      return;
    default:
      return;
  }
}

/* All rows of some columns. */
TH_HOST_DEVICE void strip(const th_product *p, uint32_t tile_rows, uint32_t vectors,
                          uint32_t column) {
  const th_real *left = p->left;
  th_real *result = p->result + column;
  uint32_t rows = p->rows;
  for (; rows >= tile_rows; rows -= tile_rows) {
    tile(p, tile_rows, vectors, left, p->right + column, result);
    left += tile_rows * p->left_row;
    result += tile_rows * p->result_stride;
  }
  tile_rest(p, rows, vectors, left, p->right + column, result);
}

static void product(const th_product *given) {
  /* A copy that nothing points to, or every store would force it to be read again. */
  th_product p = *given;
  uint32_t column = 0;
#if TILE_PANELS_MAX >= 4
  for (; column + 4 * TH_PANEL <= p.columns; column += 4 * TH_PANEL)
    strip(&p, TILE_ROWS, 4 * PANEL_VECTORS, column);
  for (; column + 2 * TH_PANEL <= p.columns; column += 2 * TH_PANEL)
    strip(&p, TILE_ROWS_TALL, 2 * PANEL_VECTORS, column);
#endif
  for (; column < p.columns; column += TH_PANEL) strip(&p, TILE_ROWS_TALL, PANEL_VECTORS, column);
}

#endif
