// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>

#include <diem/backend/capabilities.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/file_kind.hpp>
#include <diem/io/mapped.hpp>
#include <diem/prior/learn.hpp>

#include "diem/commands.hpp"
#include "diem/fit_settings.hpp"
#include "diem/stages.hpp"
#include "support/bus_error.hpp"
#include "support/memory.hpp"

/// What `diem fit` holds where: in memory, or in files where it is more than that.
namespace program {

using namespace diem;

/// Arrays of observations with fewer bytes are not worth a file.
inline constexpr std::size_t least_file = std::size_t{1} << 20;

/// Bytes that a run may have, and whose word that is.
struct memory_bound {
    double bytes;
    const char* source;
    explicit memory_bound(const fit_command& o)
        : bytes(o.memory_limit ? *o.memory_limit * 0x1p30 : support::memory_here() / o.at.ranks_here),
          source(o.memory_limit ? "--memory-limit" : "this machine") {}
    [[nodiscard]] std::string words() const { return std::string(source) + " has " + support::gib(bytes); }
};

/// Observations, masks and samples lie in files where --scratch asks for it, or where they do not fit into memory: in their own
/// what is only read, and in ones that vanish with the process all else: those returned, none for memory. Says so.
template <Backend B>
[[nodiscard]] block_source keep_in_files(B& b, const fit_command& o, fit_settings& s) {
    namespace fs = std::filesystem;
    const auto bytes_of = [](const path& file) {
        const auto place = io::place_of(file);
        std::error_code code;
        if (place.name.empty() && fs::is_regular_file(place.path, code) &&
            io::kind_of(place.path) == io::file_kind::npy) {
            const auto header = io::load_npy_header(place.path);
            return (io::is_complex(header.type) ? 8.0 : 4.0) * static_cast<double>(io::element_count(header.shape));
        }
        const auto bytes = fs::file_size(place.path, code);
        return code ? 0.0 : static_cast<double>(bytes);
    };
    mri_bytes here;
    if (s.description.mri) {
        here = program::bytes_of(*s.description.mri, s.observations);
    } else {
        for (const auto& file : s.observations) here.y += bytes_of(file);
        if (s.description.type == "mask" && !s.description.file.empty()) here.operators = bytes_of(s.description.file);
        here.samples = here.y;
    }
    const double needed = here.y + here.operators + 2 * here.samples;  // and a copy where a Gaussian is fitted
    const double written = needed - (s.description.mri ? 0 : here.y);  // y of mri may change on its way from the file
    const memory_bound bound(o);
    if constexpr (HasLargeBlocks<B>) {
        if (o.scratch.empty() && needed <= bound.bytes) return {};
        path folder = o.scratch.empty() ? fs::absolute(o.out) : o.scratch;
        while (!fs::is_directory(folder) && folder.has_relative_path()) folder = folder.parent_path();
        if (const auto room = static_cast<double>(fs::space(folder).available); written > room) {
            if (o.scratch.empty()) return {};  // what is too much for memory as well is named there
            throw io_error("--scratch " + folder.string() + ": samples need about " + support::gib(written) +
                           ", there are " + support::gib(room));
        }
        std::cout << "Observations and samples, about " << support::gib(needed)
                  << (o.scratch.empty() ? ", are more than " + bound.words() + ": they stay" : ", stay")
                  << " in files of " << folder.string() << std::endl;
        support::say_at_bus_error(
            "a file was cut short, or its disk failed, while it was mapped: one of the observations, of "
            "the masks, or of " +
            folder.string());
        const block_source files = io::file_blocks(folder);
        b.large_blocks_from(static_cast<std::size_t>(here.y), files);
        s.description.large = [files, folder](std::size_t count) -> std::shared_ptr<float> {
            if (count * sizeof(float) < least_file) return plain_memory(count);
            const auto block = files(count * sizeof(float));
            if (block == nullptr)
                throw io_error(folder.string() + ": no room for " +
                               support::gib(static_cast<double>(count * sizeof(float))) + " of observations");
            return {block, static_cast<float*>(block.get())};
        };
        return files;
    } else if (!o.scratch.empty()) {
        throw value_error("--scratch: arrays of this backend lie on its device; --backend eigen has them in files");
    }
    return {};
}

/// Bytes from which arrays stay in files, where data do: of what has a value of each observation, and no less.
template <Backend B>
[[nodiscard]] std::size_t least_in_files(const measured<B>& m) {
    return sizeof(float) * static_cast<std::size_t>(m.items() * std::min(m.features(), m.y.features()));
}

template <Backend B>
[[nodiscard]] double samples_bytes(const measured<B>& m, index_t samples) {
    return static_cast<double>(sizeof(scalar_t<B>)) * static_cast<double>(samples * m.features());
}

/// The Gaussian stage within the memory there is: the default E-step becomes `draws` where `moments` are not.
template <Backend B>
void fit_into_memory(const fit_command& o, fit_settings& s, const measured<B>& m) {
    auto& g = s.gaussian;
    // In a basis of images draws behind a mask are solves, as behind any operator.
    const bool mask = m.a.as_mask() != nullptr && g.basis == prior::gaussian_basis::values;
    const auto bytes = [&](prior::gaussian_e_step e) {
        auto with = g;
        with.e_step = e;
        const double all =
            prior::gaussian_e_step_bytes(e, m.features(), m.y.features(), m.items(), g.ppca.rank,
                                         gaussian_stage<B>::batch_of(with, m), mask, sizeof(scalar_t<B>));
        return all - (s.description.large ? samples_bytes(m, m.items()) : 0);
    };
    const memory_bound bound(o);
    const double limit = bound.bytes;
    if (g.e_step == prior::gaussian_e_step::automatic) {
        using prior::gaussian_e_step;
        g.e_step = prior::choose_gaussian_e_step(m.features(), m.y.features(), g.batch, mask, g.basis);
        if (const double moments = bytes(gaussian_e_step::moments);
            g.e_step == gaussian_e_step::moments && moments > limit && bytes(gaussian_e_step::draws) < moments) {
            std::cout << "Gaussian stage: moments would take " << support::gib(moments) << ", " << bound.words()
                      << ": going on with the E-step draws\n";
            g.e_step = gaussian_e_step::draws;
        }
    }
    const double needed = bytes(g.e_step);
    std::cout << "Gaussian stage: E-step " << prior::to_string(g.e_step) << ", about " << support::gib(needed) << " of "
              << support::gib(limit) << std::endl;
    if (needed > limit)
        throw memory_error("the Gaussian stage needs about " + support::gib(needed) + ", " + bound.words() + "; " +
                           (g.e_step == prior::gaussian_e_step::diffusion
                                ? "fewer observations, or a smaller \"gaussian.sampler.batch\", need less"
                                : "\"gaussian.e_step\": \"draws\" or a smaller \"gaussian.batch\" needs less"));
    const auto& mixture = s.em.mixture;
    if (!s.network || mixture.components == 1) return;
    const index_t of_lap = prior::observations_in_lap(s.em, m.items());
    const double with = prior::mixture_bytes(mixture, m.features(), m.y.features(), of_lap, s.em.sampling.batch, mask,
                                             sizeof(scalar_t<B>));
    if (with > limit)
        throw memory_error("\"em.mixture\" needs about " + support::gib(with) + ", " + bound.words() +
                           "; fewer components, or a smaller \"em.sampler.batch\", need less");
}

}  // namespace program
