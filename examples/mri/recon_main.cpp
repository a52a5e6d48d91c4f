#include <iostream>
#include <chrono>
#include <complex>
#include <CLI/CLI.hpp>
#include <diem/diem.hpp>
#include "mri/measured.hpp"
#include "mri/measured_prior.hpp"
using namespace diem;
using B=eigen_backend<float>;
int main(int argc, char** argv) {
    CLI::App app("x");
    std::string ks="/work/shared/data/kspace/cartesian_ksp.npy", mapsf="/tmp/h/sigpy_maps.npy", prior="prior.safetensors", out="", cov="blended", solver="cg", sampler="2m_sde";
    int threads=2; unsigned seed=0, draw=1; double noise=0.0118, unit=2.2, smin=0.02, smax=1, sw=0.3, d=0.3, tol=0, lam=0.003; index_t steps=24, its=5, samples=2, nb=2;
    app.add_option("--kspace",ks); app.add_option("--maps",mapsf); app.add_option("--prior",prior); app.add_option("--out",out);
    app.add_option("--seed",seed); app.add_option("--draw",draw); app.add_option("--noise",noise); app.add_option("--unit",unit); app.add_option("--smin",smin); app.add_option("--smax",smax); app.add_option("--switch",sw); app.add_option("--d",d);
    app.add_option("--steps",steps); app.add_option("--its",its); app.add_option("--samples",samples); app.add_option("--batch",nb); app.add_option("--cov",cov); app.add_option("--solver",solver); app.add_option("--tol",tol); app.add_option("--threads",threads); app.add_option("--sampler",sampler); app.add_option("--lam",lam);
    bool zero=false; double white=0, factor=1; app.add_option("--white",white); app.add_option("--factor",factor); double sd=0.7; app.add_option("--sd",sd); app.add_flag("--from-zero",zero);
    CLI11_PARSE(app,argc,argv);
    B b(threads);
    auto m=mri::load_measurement(ks); auto maps=io::load_npy_numbers<float>(mapsf).values.data;
    auto s=mri::hide_tenth(m,seed);
    const auto raw_maps=maps; auto kw=m.kspace;
    if(white>0){ // covariance of outer k-space
        using cd=std::complex<double>; const int C=int(m.coils); std::vector<cd> S(C*C); double n=0; const index_t P=m.pixels();
        for(index_t yy=0;yy<m.height;++yy) for(index_t xx=0;xx<m.width;++xx){ double r=std::hypot((yy-m.height/2)/(m.height/2.0),(xx-m.width/2)/(m.width/2.0)); size_t at=yy*m.width+xx; if(r<white||s.kept[at]==0) continue; ++n;
            for(int i=0;i<C;++i) for(int j=0;j<C;++j){ auto g=[&](int c){ return cd(m.kspace[2*(c*P+at)],m.kspace[2*(c*P+at)+1]);}; S[i*C+j]+=g(i)*std::conj(g(j)); } }
        for(auto&v:S) v/=2*n;
        std::vector<cd> L(C*C); double logdet=0;
        for(int i=0;i<C;++i) for(int j=0;j<=i;++j){ cd v=S[i*C+j]; for(int k=0;k<j;++k) v-=L[i*C+k]*std::conj(L[j*C+k]); if(i==j){ L[i*C+i]=std::sqrt(v.real()); logdet+=std::log(v.real()); } else L[i*C+j]=v/L[j*C+j].real(); }
        double geo=std::exp(logdet/C/2); std::printf("whitening from %g positions, geometric mean %.5f\n",n,geo); noise=geo*factor;
        auto whiten=[&](std::vector<float>& v){ std::vector<cd> z(C); for(index_t at=0;at<P;++at){ for(int i=0;i<C;++i){ z[i]=cd(v[2*(i*P+at)],v[2*(i*P+at)+1]); for(int k=0;k<i;++k) z[i]-=L[i*C+k]*z[k]; z[i]/=L[i*C+i].real(); } for(int i=0;i<C;++i){ v[2*(i*P+at)]=float(geo*z[i].real()); v[2*(i*P+at)+1]=float(geo*z[i].imag()); } } };
        whiten(kw); whiten(maps);
    }
    auto a=mri::sense_of(b,m,s.kept,maps); auto full=mri::sense_of(b,m,std::vector<float>(m.mask.size(),1.f),raw_maps);
    std::vector<float> yk=kw; for(size_t i=0;i<yk.size();++i) yk[i]*=s.kept[i/2%s.kept.size()]*float(unit);
    auto y1=to_backend(b,yk,m.rows(),1);
    auto judge=[&](const char* name, const_view_t<B> x){ batch<B> k(b,m.rows(),1); full.apply(b,x,k.view()); auto h=to_host(b,k); for(auto&v:h) v/=float(unit); 
        std::printf("%-20s hidden %.4f kept %.4f\n",name,mri::relative_error(h,m,s.hidden),mri::relative_error(h,m,s.kept)); std::fflush(stdout); };
    batch<B> x(b,a.cols(),1); a.apply_adjoint(b,y1.cview(),x.view()); judge("zero filled",x.cview());
    mri::cg_sense<B>(b,a,y1.cview(),lam,30,x.view()); judge("CG-SENSE",x.cview());
    auto p=prior::load<B>(prior,b); auto net=mri::at_size(b,p,m.height,m.width,sd);
    batch<B> y(b,m.rows(),nb); for(index_t i=0;i<nb;++i) b.copy(y1.cview(),y.view().item_range(i,1));
    auto obs=posterior::observe(b,y.cview(),a,linop::isotropic_covariance(m.rows(),noise*noise*unit*unit));
    const index_t D=a.cols();
    batch<B> mu(b,D,1), dd(b,D,1), u(b,D,0); b.copy(x.cview(),mu.view()); b.fill(dd.view(),float(d));
    diffusion::gaussian<B> est(b,std::move(mu),std::move(dd),std::move(u));
    posterior::sample_options<B> o;
    o.sampling.steps=steps; o.sampling.batch=nb; o.sampling.sigma_min=smin; o.sampling.sigma_max=smax; o.sampling.samples_per_observation=samples/nb;
    o.sampling.sampler= sampler=="ddpm"?diffusion::sampler_choice::ddpm: sampler=="ddim"?diffusion::sampler_choice::ddim: sampler=="2m"?diffusion::sampler_choice::dpm_2m: sampler=="heun"?diffusion::sampler_choice::heun:diffusion::sampler_choice::dpm_2m_sde;
    o.mmps.cov_x=posterior::covariance_from(cov); o.mmps.solver=posterior::solver_from(solver); o.mmps.max_iterations=its; o.mmps.switch_sigma=sw; o.mmps.relative_tolerance=tol; 
    o.estimate=&est; batch<B> zeros(b,D,1); b.fill(zeros.view(),0.f);
    o.mean= zero? const_vector_t<B>(zeros.flat()) : const_vector_t<B>(std::as_const(x).flat());
    batch<B> xs(b,D,samples); 
    posterior::sample_state st; auto t0=std::chrono::steady_clock::now();
    batch<B> mean(b,D,1); 
    posterior::sample(b,net,obs,o,{.seed=draw},xs.view(),st,[&](const posterior::sample_state& q, const posterior::drawn_batch<B>&){
        b.fill(mean.view(),0.f); for(index_t i=0;i<q.done;++i) b.axpby(1.0/double(q.done),const_view_t<B>(xs.view().item_range(i,1)),1.0,mean.view());
        if(q.done==nb) judge("sample 0",const_view_t<B>(xs.view().item_range(0,1)));
        if((q.done&(q.done-1))==0||q.done==samples){ char n[32]; std::snprintf(n,32,"mean of %ld",long(q.done)); judge(n,mean.cview()); }
        return true; });
    std::printf("residual %.3f nonfinite %g seconds %.1f  statuses conv %.3f maxit %.3f breakdown %.3f\n",st.data_residual(),st.non_finite,std::chrono::duration<double>(std::chrono::steady_clock::now()-t0).count(),st.share(solver::solver_status::converged),st.share(solver::solver_status::max_iterations),st.share(solver::solver_status::breakdown));
    if(!out.empty()){ io::array<float> r({samples,m.height,m.width,2},to_host(b,xs)); for(auto&v:r.data) v/=float(unit); io::save_npy(out,r); }
}
