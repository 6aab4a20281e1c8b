/* IEEE binary16 and bfloat16 to and from binary32/64, round to nearest even. */
#ifndef BASE_HALF_H
#define BASE_HALF_H

#include <stdint.h>

float base_f16_to_f32(uint16_t bits);
float base_bf16_to_f32(uint16_t bits);
uint16_t base_f16_from_f32(float value);
uint16_t base_bf16_from_f32(float value);

#endif
