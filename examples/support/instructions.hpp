// SPDX-License-Identifier: Apache-2.0
#pragma once

/// What a program was built for, as a constant that needs no code to be initialised. One unit holds
///     const int support_built_for = SUPPORT_INSTRUCTIONS;
/// (of a program support/program.hpp does), and support/instructions.cpp compares it with the processor before anything else runs.
#if defined(__AVX512F__)
#define SUPPORT_INSTRUCTIONS 3
#elif defined(__AVX2__) && defined(__FMA__)
#define SUPPORT_INSTRUCTIONS 2
#elif defined(__AVX__)
#define SUPPORT_INSTRUCTIONS 1
#else
#define SUPPORT_INSTRUCTIONS 0
#endif

extern "C" const int support_built_for;
