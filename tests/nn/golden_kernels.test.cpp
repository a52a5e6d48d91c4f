// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <string>
#include <vector>

#include <diem/nn/attention_block.hpp>
#include <diem/nn/embedding.hpp>
#include <diem/nn/modulation.hpp>
#include <diem/nn/residual_block.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// Operands and parameters of one file in a backend's memory, images as D x items.
template <class B>
struct kernel_case {
    using T = scalar_t<B>;
    B& b;
    golden_file& file;
    std::map<std::string, batch<B>> held{};

    const batch<B>& in(const std::string& name) { return hold("in/" + name); }
    const_vector_t<B> param(const std::string& name) { return hold("param/" + name).flat(); }
    std::vector<index_t> shape() const { return file.config().at("shape").template get<std::vector<index_t>>(); }
    template <class V>
    V option(const char* key, V fallback) const {
        return file.config().value(key, fallback);
    }
    batch<B> like(const std::string& output) {
        const auto ref = file.template output<double>(output);
        return batch<B>(b, ref.features(), ref.items());
    }
    void check(const std::string& name, const batch<B>& got) { check_golden<T>(file, name, to_host(b, got)); }

private:
    const batch<B>& hold(const std::string& tensor) {
        auto at = held.find(tensor);
        if (at == held.end()) {
            const auto a = file.template tensor<T>(tensor);
            at = held.emplace(tensor, to_backend(b, a.data, a.features(), a.items())).first;
        }
        return at->second;
    }
};

template <class B>
view_t<B> pixels(batch<B>& v, index_t channels) {
    return v.view().reshaped(channels, v.features() * v.items() / channels);
}
template <class B>
const_view_t<B> pixels(const batch<B>& v, index_t channels) {
    return v.cview().reshaped(channels, v.features() * v.items() / channels);
}

template <class B>
void run_linear(kernel_case<B>& k) {
    auto y = k.like("y"), y_dot = k.like("y_dot"), x_bar = k.like("x_bar");
    auto w = k.like("grad/weight"), bias = k.like("grad/bias");
    nn::linear_forward<B>(k.b, k.in("x"), k.param("weight"), k.param("bias"), y);
    nn::linear_jvp<B>(k.b, k.in("x_dot"), k.param("weight"), y_dot);
    nn::linear_vjp<B>(k.b, k.in("y_bar"), k.param("weight"), x_bar);
    nn::linear_vjp_params<B>(k.b, k.in("x"), k.in("y_bar"), w.flat(), bias.flat());
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("x_bar", x_bar);
    k.check("grad/weight", w);
    k.check("grad/bias", bias);
}

template <class B>
void run_conv(kernel_case<B>& k, bool planned) {
    const auto e = k.shape();
    const nn::conv_shape s{{e[1], e[2], e[3]}, k.option("c_out", index_t{0}), 3, k.option("stride", index_t{1})};
    auto y = k.like("y"), y_dot = k.like("y_dot"), x_bar = k.like("x_bar");
    auto w = k.like("grad/kernel"), bias = k.like("grad/bias");
    if (planned) {
        nn::conv_plan<B> plan(s);
        plan.forward(k.b, k.in("x"), k.param("kernel"), k.param("bias"), y);
        plan.forward(k.b, k.in("x_dot"), k.param("kernel"), {}, y_dot);
        plan.vjp(k.b, k.in("y_bar"), k.param("kernel"), x_bar);
        plan.vjp_params(k.b, k.in("x"), k.in("y_bar"), w.flat(), bias.flat());
    } else {
        nn::conv_forward<B>(k.b, s, k.in("x"), k.param("kernel"), k.param("bias"), y);
        nn::conv_jvp<B>(k.b, s, k.in("x_dot"), k.param("kernel"), y_dot);
        nn::conv_vjp<B>(k.b, s, k.in("y_bar"), k.param("kernel"), x_bar);
        nn::conv_vjp_params<B>(k.b, s, k.in("x"), k.in("y_bar"), w.flat(), bias.flat());
    }
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("x_bar", x_bar);
    k.check("grad/kernel", w);
    k.check("grad/bias", bias);
}

template <class B>
void run_unary(kernel_case<B>& k, const std::string& op) {
    const auto e = k.shape();
    const index_t c = e.back();
    auto y = k.like("y"), y_dot = k.like("y_dot"), x_bar = k.like("x_bar");
    const auto& x = k.in("x");
    const auto &dot = k.in("x_dot"), &bar = k.in("y_bar");
    if (op == "silu") {
        nn::silu_forward<B>(k.b, x, y);
        nn::silu_jvp<B>(k.b, x, dot, y_dot);
        nn::silu_vjp<B>(k.b, x, bar, x_bar);
    } else if (op == "softmax") {
        nn::softmax_forward<B>(k.b, pixels<B>(x, c), pixels<B>(y, c));
        nn::softmax_jvp<B>(k.b, pixels<B>(std::as_const(y), c), pixels<B>(dot, c), pixels<B>(y_dot, c));
        nn::softmax_vjp<B>(k.b, pixels<B>(std::as_const(y), c), pixels<B>(bar, c), pixels<B>(x_bar, c));
    } else if (op == "layer_norm") {
        nn::layer_norm_forward<B>(k.b, pixels<B>(x, c), pixels<B>(y, c));
        nn::layer_norm_jvp<B>(k.b, pixels<B>(x, c), pixels<B>(dot, c), pixels<B>(y_dot, c));
        nn::layer_norm_vjp<B>(k.b, pixels<B>(x, c), pixels<B>(bar, c), pixels<B>(x_bar, c));
    } else if (op == "upsample") {
        const nn::image_shape s{e[1], e[2], e[3]};
        nn::upsample_forward<B>(k.b, s, x, y);
        nn::upsample_jvp<B>(k.b, s, dot, y_dot);
        nn::upsample_vjp<B>(k.b, s, bar, x_bar);
    } else {
        const nn::image_shape s{e[1], e[2], e[3]};
        const index_t f = k.option("factor", index_t{2});
        nn::space_to_depth_forward<B>(k.b, s, f, x, y);
        nn::space_to_depth_jvp<B>(k.b, s, f, dot, y_dot);
        nn::space_to_depth_vjp<B>(k.b, s, f, bar, x_bar);
    }
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("x_bar", x_bar);
}

template <class B>
void run_embedding(kernel_case<B>& k) {
    auto y = k.like("y"), y_dot = k.like("y_dot");
    const index_t n = y.items();
    const auto row = [n](const batch<B>& v) { return v.cview().reshaped(1, n); };
    batch<B> bar(k.b, 1, n);
    nn::embedding_forward<B>(k.b, row(k.in("c_noise")), y);
    nn::embedding_jvp<B>(k.b, row(k.in("c_noise")), row(k.in("c_noise_dot")), y_dot);
    nn::embedding_vjp<B>(k.b, row(k.in("c_noise")), k.in("y_bar"), bar);
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("c_noise_bar", bar);
}

template <class B>
void run_modulate(kernel_case<B>& k) {
    const index_t c = k.shape().back();
    auto y = k.like("y"), y_dot = k.like("y_dot"), x_bar = k.like("x_bar"), a_bar = k.like("a_bar"),
         b_bar = k.like("b_bar");
    const auto x = pixels<B>(k.in("x"), c);
    const auto bar = pixels<B>(k.in("y_bar"), c);
    nn::modulate_forward<B>(k.b, x, k.in("a"), k.in("b"), pixels<B>(y, c));
    nn::modulate_jvp<B>(k.b, x, k.in("a"), pixels<B>(k.in("x_dot"), c), k.in("a_dot"), k.in("b_dot"),
                        pixels<B>(y_dot, c));
    nn::modulate_vjp<B>(k.b, k.in("a"), bar, pixels<B>(x_bar, c));
    nn::modulate_vjp_params<B>(k.b, x, bar, a_bar, b_bar);
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("x_bar", x_bar);
    k.check("a_bar", a_bar);
    k.check("b_bar", b_bar);
}

template <class B>
void run_gated_residual(kernel_case<B>& k) {
    const index_t c = k.shape().back();
    auto y = k.like("y"), y_dot = k.like("y_dot"), x_bar = k.like("x_bar"), h_bar = k.like("h_bar"),
         c_bar = k.like("c_bar");
    const auto x = pixels<B>(k.in("x"), c), h = pixels<B>(k.in("h"), c), bar = pixels<B>(k.in("y_bar"), c);
    nn::gated_residual_forward<B>(k.b, x, h, k.in("c"), pixels<B>(y, c));
    nn::gated_residual_jvp<B>(k.b, k.in("c"), pixels<B>(k.in("x_dot"), c), pixels<B>(k.in("h_dot"), c),
                              pixels<B>(y_dot, c));
    nn::gated_residual_jvp_gate<B>(k.b, x, h, k.in("c"), k.in("c_dot"), pixels<B>(y_dot, c));
    nn::gated_residual_vjp<B>(k.b, k.in("c"), bar, pixels<B>(x_bar, c), pixels<B>(h_bar, c));
    nn::gated_residual_vjp_params<B>(k.b, x, h, k.in("c"), bar, c_bar);
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("x_bar", x_bar);
    k.check("h_bar", h_bar);
    k.check("c_bar", c_bar);
}

template <class B>
void run_attention(kernel_case<B>& k) {
    const auto e = k.shape();
    const nn::attention_shape s{e[1], e[2], k.option("heads", index_t{1})};
    auto y = k.like("y"), y_dot = k.like("y_dot"), q = k.like("q_bar"), kk = k.like("k_bar"), v = k.like("v_bar");
    nn::attention_forward<B>(k.b, s, k.in("q"), k.in("k"), k.in("v"), y);
    nn::attention_jvp<B>(k.b, s, k.in("q"), k.in("k"), k.in("v"), k.in("q_dot"), k.in("k_dot"), k.in("v_dot"), y_dot);
    nn::attention_vjp<B>(k.b, s, k.in("q"), k.in("k"), k.in("v"), k.in("y_bar"), q, kk, v);
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("q_bar", q);
    k.check("k_bar", kk);
    k.check("v_bar", v);
}

template <class B>
void run_self_attention(kernel_case<B>& k) {
    const auto e = k.shape();
    const index_t c = e[2];
    const nn::attention_shape s{e[1], c, k.option("heads", index_t{1})};
    auto y = k.like("y"), y_dot = k.like("y_dot"), x_bar = k.like("x_bar");
    const index_t n = y.items();
    std::map<std::string, batch<B>> a, d, r;
    for (const std::string p : {"q", "k", "v"}) {
        a.emplace(p, batch<B>(k.b, s.length * c, n));
        d.emplace(p, batch<B>(k.b, s.length * c, n));
        r.emplace(p, batch<B>(k.b, s.length * c, n));
        nn::linear_forward<B>(k.b, pixels<B>(k.in("x"), c), k.param(p + ".weight"), k.param(p + ".bias"),
                              pixels<B>(a.at(p), c));
        nn::linear_jvp<B>(k.b, pixels<B>(k.in("x_dot"), c), k.param(p + ".weight"), pixels<B>(d.at(p), c));
    }
    batch<B> o(k.b, s.length * c, n), o_dot(k.b, s.length * c, n), o_bar(k.b, s.length * c, n);
    nn::attention_forward<B>(k.b, s, a.at("q"), a.at("k"), a.at("v"), o);
    nn::attention_jvp<B>(k.b, s, a.at("q"), a.at("k"), a.at("v"), d.at("q"), d.at("k"), d.at("v"), o_dot);
    const auto bar = pixels<B>(k.in("y_bar"), c);
    nn::linear_forward<B>(k.b, pixels<B>(std::as_const(o), c), k.param("out.weight"), {}, pixels<B>(y, c));
    nn::linear_jvp<B>(k.b, pixels<B>(std::as_const(o_dot), c), k.param("out.weight"), pixels<B>(y_dot, c));
    nn::linear_vjp<B>(k.b, bar, k.param("out.weight"), pixels<B>(o_bar, c));
    nn::attention_vjp<B>(k.b, s, a.at("q"), a.at("k"), a.at("v"), o_bar, r.at("q"), r.at("k"), r.at("v"));
    auto out = k.like("grad/out.weight");
    nn::linear_vjp_params<B>(k.b, pixels<B>(std::as_const(o), c), bar, out.flat(), {});
    k.b.fill(x_bar.view(), 0);
    for (const std::string p : {"q", "k", "v"}) {
        auto w = k.like("grad/" + p + ".weight"), bias = k.like("grad/" + p + ".bias");
        const auto g = pixels<B>(std::as_const(r.at(p)), c);
        nn::linear_vjp<B>(k.b, g, k.param(p + ".weight"), pixels<B>(x_bar, c), nn::update::accumulate);
        nn::linear_vjp_params<B>(k.b, pixels<B>(k.in("x"), c), g, w.flat(), bias.flat());
        k.check("grad/" + p + ".weight", w);
        k.check("grad/" + p + ".bias", bias);
    }
    k.check("grad/out.weight", out);
    k.check("y", y);
    k.check("y_dot", y_dot);
    k.check("x_bar", x_bar);
}

/// The blocks of the U-Net themselves. Their `jvp` is at a fixed embedding, while the file moves it too: `y_dot` adds what
/// the tangents of the modulation contribute, a central difference in double otherwise.
template <class B, class Block>
void run_block(kernel_case<B>& k, Block& block, const nn::parameter_table& table) {
    using T = scalar_t<B>;
    const index_t n = k.in("x").items();
    batch<B> p(k.b, table.size(), 1), grad(k.b, table.size(), 1);
    for (const auto& entry : table.entries())  // names in the file lack the prefix
        k.b.copy(as_batch(k.param(entry.name.substr(2))), as_batch(entry.of(p.flat())));
    const auto params = const_vector_t<B>(p.flat());
    auto y = k.like("y"), x_bar = k.like("x_bar"), t_bar = k.like("t_bar"), y_dot = k.like("y_dot");
    const auto m = block.mod().forward(k.b, params, k.in("t"));
    nn::save_options o;
    typename Block::saved light, full;
    block.forward(k.b, params, k.in("x"), m, y, nn::save_options{}, nullptr);
    k.check("y", y);
    o.parameters = true;
    block.forward(k.b, params, k.in("x"), m, y, o, &full);
    k.check("y", y);
    block.forward(k.b, params, k.in("x"), m, y, nn::save_options{}, &light);
    k.check("y", y);
    k.b.copy(k.in("y_bar").cview(), x_bar.view());
    block.vjp(k.b, params, k.in("x"), m, light, x_bar);
    k.check("x_bar", x_bar);
    k.b.copy(k.in("y_bar").cview(), x_bar.view());
    block.vjp_params(k.b, params, k.in("x"), k.in("t"), m, full, x_bar, grad.flat(), nn::update::overwrite, t_bar);
    k.check("x_bar", x_bar);
    k.check("t_bar", t_bar);
    for (const auto& entry : table.entries())
        check_golden<T>(k.file, "grad/" + entry.name.substr(2), to_host(k.b, entry.of(const_vector_t<B>(grad.flat()))));
    // Tangents: J x_dot, and the change along t_dot by a central difference, for which double is needed.
    block.jvp(k.b, params, k.in("x"), m, light, k.in("x_dot"), y_dot);
    if constexpr (sizeof(T) == 8) {
        const double step = 1e-5;
        for (const double side : {step, -step}) {
            batch<B> t(k.b, k.in("t").features(), n);
            k.b.copy(k.in("t").cview(), t.view());
            k.b.axpby(side, k.in("t_dot").cview(), 1.0, t.view());
            const auto moved = block.mod().forward(k.b, params, t);
            block.forward(k.b, params, k.in("x"), moved, y, nn::save_options{}, nullptr);
            k.b.axpby(1 / (2 * side), y.cview(), 1.0, y_dot.view());
        }
        const auto result = k.file.template compare<T>("y_dot", to_host(k.b, y_dot));
        INFO(result.message);
        CHECK(result.error <= 1e-8);
    }
}

template <class B>
void run_kernel(B& b, golden_file& file) {
    kernel_case<B> k{b, file};
    const auto op = file.config().at("op").get<std::string>();
    INFO(file.name());
    if (op == "linear") {
        run_linear(k);
    } else if (op == "conv3x3") {
        run_conv(k, false);
        run_conv(k, true);
    } else if (op == "silu" || op == "softmax" || op == "layer_norm" || op == "upsample" || op == "space_to_depth") {
        run_unary(k, op);
    } else if (op == "embedding") {
        run_embedding(k);
    } else if (op == "modulate") {
        run_modulate(k);
    } else if (op == "gated_residual") {
        run_gated_residual(k);
    } else if (op == "attention") {
        run_attention(k);
    } else if (op == "self_attention") {
        run_self_attention(k);
    } else if (op == "res_block" || op == "att_block") {
        const auto e = k.shape();
        const nn::image_shape s{e[1], e[2], e[3]};
        const auto emb = k.option("features", index_t{0});
        nn::parameter_table table;
        if (op == "res_block") {
            nn::residual_block<B> block(table, "b", s, emb);
            run_block(k, block, table);
        } else {
            nn::attention_block<B> block(table, "b", s, emb, k.option("heads", index_t{1}));
            run_block(k, block, table);
        }
    } else {
        FAIL("unknown op " << op);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("golden kernels", "[golden][nn]", DIEM_TEST_BACKENDS) {
    auto b = make_backend<TestType>();
    auto files = golden_files("kernel");
    for (auto& file : files) run_kernel<TestType>(b, file);
}
