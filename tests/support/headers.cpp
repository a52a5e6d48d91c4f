// SPDX-License-Identifier: Apache-2.0
// A unit for the precompiled headers of the tests to hang on.
