// SPDX-License-Identifier: Apache-2.0
#include <map>

#include <diem/backend/batch.hpp>
#include <diem/backend/reference.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/lap_samples.hpp>
#include <diem/prior/training_file.hpp>

#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using backend = diem::reference_backend<float>;
    static const diem::nn::parameter_table table = [] {
        diem::nn::parameter_table t;
        t.add("w", {2, 2}, 1);
        return t;
    }();
    const auto path = fuzz::file_of(data, size);
    fuzz::tolerate([&] {
        diem::prior::checkpoint_reader<backend> in(path);
        (void)in.note();
        fuzz::tolerate([&] { (void)in.state<std::string>("kind"); });
        fuzz::tolerate([&] { (void)in.state<diem::index_t>("laps"); });
        fuzz::tolerate([&] { (void)diem::prior::get_training<backend>(in, table); });
        fuzz::tolerate([&] { (void)in.batch_as("mean", in.state<diem::index_t>("features"), 1); });
        in.finish();
    });
    fuzz::tolerate([&] {
        backend b;
        diem::batch<backend> x(b, 2, 3);
        const diem::parallel::any_communicator ranks;
        diem::prior::detail::lap_samples<backend> samples("", ranks);
        samples.begin(0, diem::io::json::object());
        std::map<diem::index_t, diem::posterior::drawn_range> found;
        samples.read_file(b, path, x.view(), found);
    });
    return 0;
}
