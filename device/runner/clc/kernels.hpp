// The two inner kernels of a channel local convolution, once for each instruction set.
//
// Activations lie in rows of blocks: [block][1 + width + 1 pixels][c channels][V lanes], where V is the vector's width
// and c the channel receptive field of the convolution that reads them. Lane v of block b holds the channels of group
// b * V + v: its k-th channel, (b * V + v) * c + k, lies in sub-vector k. The pixels before and after a row are zero,
// and so are the lanes beyond the last group.
//
// The outputs of the 3x3 part lie in a tile: [pixel][field][group], each field padded to whole vectors. That is the
// interlaced order already (field j of group i is channel j * groups + i, figure 5b of the paper): interlacing is free.
#pragma once

#include <cstddef>

namespace tenpass::clc {

// The 3x3 part of some rows of output: from rows of activations to a tile.
struct FilterCall {
  const float* const* rows;    // [output row][3]: the rows of input above, at and below it
  int output_rows;
  int output_width;            // pixels
  int stride;
  int receptive_field;         // c, channels of input per group
  int fields;                  // channels of output per group
  int blocks;                  // vectors of groups
  std::size_t block_stride;    // floats from a block to the next within a row
  const float* weights;        // [block][field][tap][c][V]; pairs of fields: [block][pair][tap][c][2][V]
  const float* bias;           // [block][field][V]
  bool relu;
  float* tile;                 // [output row * output_width + x][tile_stride]
  std::size_t tile_stride;     // floats from a pixel to the next
  std::size_t field_stride;    // floats from a field to the next: blocks * V
};

// Part of the inputs of a panel: so many successive floats of each pixel of the tile.
struct Run {
  int begin;
  int length;  // a multiple of Kernels::run_multiple
};

// Two vectors of output channels, and what they depend on.
struct Panel {
  const Run* runs;
  int run_count;
  int inputs;                // of all runs
  const float* weights;      // [input, run after run][2][V]
  const float* bias;         // [2][V]
  std::size_t offsets[2];    // where the two vectors lie, from a pixel's first float in block 0
};

// The 1x1 part: from a tile to rows of activations.
struct PointwiseCall {
  const float* tile;
  std::size_t tile_stride;
  int pixels;
  float* const* outputs;  // of each pixel, its first float in block 0
  const Panel* panels;
  int panel_count;
  bool relu;
  const float* following;  // what will be read right after this, worth asking for beforehand; may be null
  std::size_t following_floats;
};

struct Kernels {
  const char* name;  // of the instruction set
  int width;         // V
  int run_multiple;
  void (*filter)(const FilterCall&);
  void (*pointwise)(const PointwiseCall&);
};

// The best of this machine's. TENPASS_CLC_ISA names another one that it has, for tests and studies.
// Throws std::runtime_error for a name that is not known or not to be had here.
const Kernels& kernels();

}  // namespace tenpass::clc
