#include <iostream>
#include <CLI/CLI.hpp>
#include <diem/diem.hpp>
#include "mri/measured_prior.hpp"
int main(int argc, char** argv) {
    CLI::App app("x");
    std::string s128, s320, out="prior.safetensors", from; mri::patch_prior_options o; diem::index_t size=64; int threads=2; 
    app.add_option("--s128",s128); app.add_option("--s320",s320); app.add_option("--out",out); app.add_option("--from",from);
    app.add_option("--steps",o.steps); app.add_option("--batch",o.batch); app.add_option("--patches",o.patches); app.add_option("--rate",o.rate); app.add_option("--size",size);
    app.add_option("--seed",o.seed); app.add_option("--threads",threads); app.add_option("--channels",o.network.hid_channels); app.add_option("--blocks",o.network.hid_blocks); app.add_option("--patch",o.network.patch);
    std::string dump; app.add_option("--dump",dump);
    CLI11_PARSE(app,argc,argv);
    using B=diem::eigen_backend<float>; B b(threads);
    mri::slice_patches p; p.size=size;
    if(!s320.empty()) p.sources.push_back({diem::io::load_npy<std::uint8_t>(s320),1.0,1.7,0.75});
    if(!s128.empty()) p.sources.push_back({diem::io::load_npy<std::uint8_t>(s128),0.7,1.0,0.25});
    for(auto& s:p.sources){ auto& a=s.slices; auto n=a.shape[0]==320?288:2547; a.shape[0]=n; a.data.resize(size_t(n)*a.shape[1]*a.shape[2]); }
    if(!dump.empty()){ diem::io::array<float> d({64,size,size,2}); for(int i=0;i<64;++i) p.draw({.seed=o.seed,.lane=diem::random_lane::user},i,d.data.data()+i*size*size*2); diem::io::save_npy(dump,d); return 0; }
    std::optional<diem::prior::learned<B>> start; if(!from.empty()) start.emplace(diem::prior::load<B>(from,b));
    if(start) o.network=std::get<diem::nn::unet_config>(start->network().net().config());
    auto prior=mri::train_patch_prior(b,p,o,start?&*start:nullptr);
    diem::prior::save(out,b,prior);
}
