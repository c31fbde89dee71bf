//! x
use phix_engine::crypto::x25519::Multiples;
use std::time::Instant;
fn main() {
    let k = phix_engine::crypto::avx512().unwrap();
    for n in [1, 4, 8, 16, 64] {
        let s: Vec<[u8; 32]> = (0..n).map(|i| [(i as u8).wrapping_mul(37) ^ 0x5a; 32]).collect();
        let mut p: Vec<[u8; 32]> = (0..n)
            .map(|i| {
                let mut b = [0u8; 32];
                b[0] = 9;
                let _ = i;
                b
            })
            .collect();
        let mut o = vec![[0u8; 32]; n];
        (k.x25519)(&s, &p, &mut o);
        p = o.clone();
        let w: Vec<usize> = (0..n).collect();
        let mut m = Multiples::new();
        let (mut b1, mut b2, mut b3) = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..200 {
            let t = Instant::now();
            (k.x25519)(&s, &p, &mut o);
            b1 = b1.min(t.elapsed().as_secs_f64() * 1e9 / n as f64);
            let t = Instant::now();
            k.prepare(p.iter().copied(), &mut m);
            b2 = b2.min(t.elapsed().as_secs_f64() * 1e9 / n as f64);
            let t = Instant::now();
            k.multiply_again(&s, &w, &m, &mut o);
            b3 = b3.min(t.elapsed().as_secs_f64() * 1e9 / n as f64);
        }
        println!(
            "batch {n}: ladder x2 {:.0}, prepare {b2:.0} + 2 x multiply {b3:.0} = {:.0}  ratio {:.3}",
            2.0 * b1,
            b2 + 2.0 * b3,
            (b2 + 2.0 * b3) / (2.0 * b1)
        );
    }
}
