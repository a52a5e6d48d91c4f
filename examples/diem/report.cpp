// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <string>
#include <vector>

#include <diem/io/atomic.hpp>

#include "diem/commands.hpp"
#include "diem/outputs.hpp"
#include "support/html_report.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

int report(const report_command& o) {
    std::vector<support::reported_run> runs;
    for (const auto& folder : o.folders) runs.push_back(support::load_run(folder));
    if (runs.size() == 2)
        for (std::size_t k = 0; k < 2; ++k) runs[k].name = o.folders[k].lexically_normal().string();
    path out = o.out;
    if (out.empty()) out = runs.size() == 2 ? path("comparison.html") : o.folders[0] / (runs[0].file + ".html");
    auto files = outputs::file("--out", out);
    for (const auto& r : runs) files.reads("the run", r.folder / (r.file + ".json"));
    files.replaces(io::file_kind::html).prepare();
    const auto page = support::html_report(runs);
    io::write_atomically(out, page);
    std::cout << out.string() << ": " << page.size() / 1024 << " KiB\n";
    support::tell({{"program", "diem report"}, {"page", out.string()}, {"bytes", page.size()}});
    return 0;
}

}  // namespace program
