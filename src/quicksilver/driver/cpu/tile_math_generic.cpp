#include "quicksilver/driver/cpu/tile_math.inl"
