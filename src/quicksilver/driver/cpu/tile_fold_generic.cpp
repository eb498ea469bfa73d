#include "quicksilver/driver/cpu/tile_fold.inl"
