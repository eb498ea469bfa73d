#include "quicksilver/driver/cpu/tile_convert.inl"
