use audit::log::*; use audit_core::*; use portcullis_domain::*; use std::time::Instant;
use std::os::unix::fs::FileExt;
fn cpu()->f64{ let t=std::fs::read_to_string("/proc/thread-self/schedstat").unwrap(); t.split(' ').next().unwrap().parse::<f64>().unwrap()/1e9 }
fn main(){
 let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
 if std::env::args().nth(2).is_some(){ let key=ChainKey::from_bytes(&[1;32]).unwrap(); let o=audit::verify::Options{chain_key:Some(key),..Default::default()};
   let d=dir.join("log1024");
   for _ in 0..20 { let t=cpu(); let r=audit::verify::verify(&d,&o).unwrap(); println!("{:.3} us", (cpu()-t)*1e6/r.entries as f64);} return; }
 let _=std::fs::remove_dir_all(&dir); std::fs::create_dir_all(&dir).unwrap();
 let key=ChainKey::from_bytes(&[1;32]).unwrap();
 let source=PrincipalName::new("execution").unwrap();
 let mut world=portcullis_testkit::seals::World::new(portcullis_testkit::seals::NOW);
 let order = portcullis_domain::OrderId([1; 16]);
 let n=60_000usize;
 let frames:Vec<_>=(0..n).map(|_|{let t=portcullis_wire::messages::PermitTaken{order,permit:vec![7;900]}; let s=world.seal(portcullis_testkit::seals::NOW,&portcullis_wire::subjects::PERMIT_TAKEN,None,&t); let h=portcullis_wire::inspect(&s.frame).unwrap().0; (h,s.frame)}).collect();
 let drafts:Vec<_>=frames.iter().map(|(h,f)|Draft{received_at:Timestamp(5),kind:Kind::Fact,subject:&h.subject,source:&source,boot:h.boot,seq:h.seq,id:h.id,content:f}).collect();
 for batch in [64usize,256,1024]{
  let count = (batch*1000).min(n);
  let d=dir.join(format!("log{batch}"));
  // raw
  let mut c=Chain::new(key.clone()); let mut group=Vec::new(); for x in &drafts[..batch]{c.append(x,&mut group).unwrap();}
  let f=std::fs::File::create(dir.join(format!("raw{batch}"))).unwrap();
  let zero=vec![0u8;1<<20]; let total=group.len()*(count/batch); let mut o=0; while o<total{f.write_all_at(&zero,o as u64).unwrap();o+=1<<20;} f.sync_all().unwrap();
  let t=Instant::now(); let mut o=0; for _ in 0..count/batch{f.write_all_at(&group,o).unwrap();f.sync_data().unwrap();o+=group.len() as u64;} let raw=t.elapsed();
  // ours pipelined
  let Opened{log,mut chain,..}=Log::open(&d,SEGMENT_BYTES,&key,None).unwrap();
  let w=Writer::start(log).unwrap(); let p=w.progress();
  let t=Instant::now();
  // closed loop with two groups in flight
  let mut done=0u64;
  for (i,g) in drafts[..count].chunks(batch).enumerate(){ let mut r=Vec::with_capacity(g.len()*1500); for x in g{chain.append(x,&mut r).unwrap();} w.append_blocking(r).unwrap(); 
    while (i as u64*batch as u64) > done + batch as u64 { if let Progress::Durable(s)=&*p.borrow(){done=*s;} std::thread::yield_now(); } }
  drop(w);
  let ours=t.elapsed();
  let bytes=group.len()/batch;
  println!("batch {batch} record {bytes}: raw {:.0}/s ours {:.0}/s ratio {:.2}", count as f64/raw.as_secs_f64(), count as f64/ours.as_secs_f64(), raw.as_secs_f64()/ours.as_secs_f64());
  let o=audit::verify::Options{chain_key:Some(key.clone()),..Default::default()};
  {let o=audit::verify::Options::default(); let t=cpu(); let r=audit::verify::verify(&d,&o).unwrap(); println!("no key {:.3} us", (cpu()-t)*1e6/r.entries as f64); let t=cpu(); let n=audit::verify::entries(&d).unwrap().count(); println!("entries {:.3} us", (cpu()-t)*1e6/n as f64);
 let mut f=std::fs::File::open(d.join("segment-00000000000000000000.log")).unwrap(); let mut b=vec![0u8;256<<10]; let t=cpu(); let mut tot=0usize; loop{let k=std::io::Read::read(&mut f,&mut b).unwrap(); if k==0{break} tot+=k;} println!("read {:.3} us", (cpu()-t)*1e6/(tot as f64/709.)); let t=cpu(); for c in b.chunks_exact(700){std::hint::black_box(crc32c::crc32c(c));} println!("crc {:.3} us", (cpu()-t)*1e6/(b.len() as f64/709.)); let t=cpu(); use sha2::Digest; for c in b.chunks_exact(700){let mut h=sha2::Sha256::new(); h.update(&b[..26]); h.update(&b[..8]); h.update(c); std::hint::black_box(h.finalize());} println!("entry hash {:.3} us", (cpu()-t)*1e6/(b.len() as f64/709.)); let x=b"".to_vec(); drop(x); let t=cpu(); for (_,f) in &frames{std::hint::black_box(portcullis_wire::Placed::inspect(f).unwrap());} println!("placed {:.3} us", (cpu()-t)*1e6/(frames.len() as f64));}
  for _ in 0..2 {
  let t=cpu(); let r=audit::verify::verify(&d,&o).unwrap(); let v=std::time::Duration::from_secs_f64(cpu()-t);
  let all=std::fs::read(d.join("segment-00000000000000000000.log")).unwrap(); 
  use sha2::Digest; let t=cpu(); let mut k=0u64; while k < r.bytes { std::hint::black_box(sha2::Sha256::digest(&all)); k+=all.len() as u64; } let s=(cpu()-t)/(k as f64)*(r.bytes as f64);
  println!("verify {:.0} MB/s {:.2} M/s, sha {:.0} MB/s ratio {:.2}", r.bytes as f64/v.as_secs_f64()/1e6, r.entries as f64/v.as_secs_f64()/1e6, r.bytes as f64/s/1e6, s/v.as_secs_f64());
  }
 }
}
