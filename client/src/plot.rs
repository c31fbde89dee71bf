//! Draws a measured distribution over the one that theory asks for, as a self-contained SVG.

use std::fmt::Write;

use crate::stats::{self, Erlang};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 64.0;
/// Points of either curve; more would be closer together than a pixel.
const POINTS: u32 = 400;
const MEASURED: &str = "#0b62a4";
const THEORY: &str = "#d1495b";

/// What to draw: latencies in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Plot<'a> {
    /// Heading.
    pub title: &'a str,
    /// Second line: what was measured, how, and the distance from theory.
    pub subtitle: &'a str,
    /// The measured latencies, in any order.
    pub measured_ms: &'a [f64],
    /// What they must be distributed like.
    pub theory: Erlang,
}

/// From data to positions in the picture.
struct Scale {
    x_max: f64,
}

impl Scale {
    fn x(&self, ms: f64) -> f64 {
        LEFT + (ms / self.x_max).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(share: f64) -> f64 {
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

impl Plot<'_> {
    /// The picture, as a text of SVG 1.1. The time axis ends where theory leaves one packet in a
    /// thousand; slower ones lie beyond the right edge.
    pub fn svg(&self) -> String {
        let mut sorted = self.measured_ms.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (step, x_max) = ticks(self.theory.quantile(0.999));
        let scale = Scale { x_max };
        let mut svg = String::new();
        self.write_all(&mut svg, &sorted, &scale, step).expect("a string takes any text");
        svg
    }

    fn write_all(
        &self,
        svg: &mut String,
        sorted: &[f64],
        scale: &Scale,
        step: f64,
    ) -> std::fmt::Result {
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="13" fill="#333">"##
        )?;
        writeln!(svg, r##"<rect width="100%" height="100%" fill="#fdfdfb"/>"##)?;
        let (title, subtitle) = (escape(self.title), escape(self.subtitle));
        writeln!(svg, "<title>{title}</title>")?;
        writeln!(
            svg,
            r#"<text x="{LEFT}" y="32" font-size="18" font-weight="600">{title}</text>"#
        )?;
        writeln!(svg, r##"<text x="{LEFT}" y="54" fill="#666">{subtitle}</text>"##)?;
        axes(svg, scale, step)?;
        let theory = (0..=POINTS).map(|i| {
            let ms = scale.x_max * f64::from(i) / f64::from(POINTS);
            (ms, self.theory.cdf(ms))
        });
        curve(
            svg,
            scale,
            theory,
            &format!(r#"stroke="{THEORY}" stroke-width="5" opacity="0.55""#),
        )?;
        let measured = empirical(sorted, scale.x_max);
        curve(svg, scale, measured, &format!(r#"stroke="{MEASURED}" stroke-width="1.6""#))?;
        self.legend(svg, sorted.len())?;
        svg.push_str("</svg>\n");
        Ok(())
    }

    fn legend(&self, svg: &mut String, count: usize) -> std::fmt::Result {
        let (x, y) = (WIDTH - RIGHT - 290.0, Scale::y(0.16));
        let (k, mean) = (self.theory.k(), self.theory.mean());
        let rows = [
            (MEASURED, 1.6, format!("measured, {count} packets")),
            (THEORY, 5.0, format!("theory: Erlang, {k} delays of mean {mean} ms")),
        ];
        for ((colour, width, text), y) in rows.into_iter().zip([y, y + 24.0]) {
            let (line_end, text_at, base) = (x + 30.0, x + 40.0, y + 4.5);
            writeln!(
                svg,
                r#"<path d="M{x} {y}H{line_end}" stroke="{colour}" stroke-width="{width}"/><text x="{text_at}" y="{base}">{text}</text>"#
            )?;
        }
        Ok(())
    }
}

/// The share of a sorted sample up to each of its values; thinned out where there are many.
fn empirical(sorted: &[f64], x_max: f64) -> impl Iterator<Item = (f64, f64)> {
    let count = if sorted.is_empty() { 0 } else { POINTS };
    let points = (1..=count).filter_map(move |i| {
        let share = f64::from(i) / f64::from(POINTS);
        stats::percentile(sorted, share).map(|ms| (ms, share))
    });
    points.take_while(move |(ms, _)| *ms <= x_max)
}

fn curve(
    svg: &mut String,
    scale: &Scale,
    points: impl Iterator<Item = (f64, f64)>,
    style: &str,
) -> std::fmt::Result {
    write!(svg, r#"<path fill="none" stroke-linejoin="round" {style} d=""#)?;
    for ((ms, share), verb) in points.zip(std::iter::once('M').chain(std::iter::repeat('L'))) {
        write!(svg, "{verb}{:.1} {:.1}", scale.x(ms), Scale::y(share))?;
    }
    svg.push_str("\"/>\n");
    Ok(())
}

fn axes(svg: &mut String, scale: &Scale, step: f64) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tenth in (0..=10).step_by(2) {
        let (share, label) = (f64::from(tenth) / 10.0, tenth * 10);
        let (y, at, base) = (Scale::y(share), LEFT - 10.0, Scale::y(share) + 4.5);
        writeln!(
            svg,
            r##"<path d="M{LEFT} {y}H{right}" stroke="#e3e3de"/><text x="{at}" y="{base}" text-anchor="end">{label} %</text>"##
        )?;
    }
    let mut ms = 0.0;
    while ms <= scale.x_max * 1.000_001 {
        let (x, end, base) = (scale.x(ms), bottom + 6.0, bottom + 22.0);
        writeln!(
            svg,
            r##"<path d="M{x:.1} {TOP}V{end}" stroke="#e3e3de"/><text x="{x:.1}" y="{base}" text-anchor="middle">{ms}</text>"##
        )?;
        ms += step;
    }
    writeln!(svg, r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#888"/>"##)?;
    let (middle, base) = (f64::midpoint(LEFT, right), HEIGHT - 18.0);
    writeln!(
        svg,
        r#"<text x="{middle}" y="{base}" text-anchor="middle">end-to-end latency, ms</text>"#
    )?;
    let middle = f64::midpoint(TOP, bottom);
    writeln!(
        svg,
        r#"<text transform="translate(20 {middle}) rotate(-90)" text-anchor="middle">share of packets that arrived</text>"#
    )
}

/// A distance between ticks that people like, and the last tick, at or beyond `reach`.
fn ticks(reach: f64) -> (f64, f64) {
    let rough = reach / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let liked = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough);
    let step = liked.unwrap_or(10.0) * power;
    (step, (reach / step).ceil() * step)
}

fn escape(text: &str) -> String {
    let legal = text.chars().filter(|c| !c.is_control());
    legal.collect::<String>().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand::SeedableRng;

    use super::*;

    fn plot(measured_ms: &[f64], mean: f64, title: &str) -> String {
        Plot { title, subtitle: "a & b", measured_ms, theory: Erlang::new(3, mean) }.svg()
    }

    #[test]
    fn well_formed_whatever_it_shows() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let draw = |_| (0..3).map(|_| stats::exponential(&mut rng, 50.0)).sum();
        let many: Vec<f64> = (0..5000).map(draw).collect();
        for sample in [&[][..], &[3.0], &[1e9, 1e9], &many] {
            for mean in [1e-3, 0.7, 50.0, 9999.0] {
                let svg = plot(sample, mean, "<script>\"&\u{1b}[31m");
                let document = roxmltree::Document::parse(&svg).unwrap();
                let texts = document.descendants().filter(|node| node.has_tag_name("text"));
                assert!(texts.clone().count() > 14, "title, axes, ticks, legend");
                assert!(texts.clone().any(|node| node.text() == Some("end-to-end latency, ms")));
                assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains('\u{1b}'));
                assert!(svg.len() < 40_000, "{}", svg.len());
            }
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(560.0), (100.0, 600.0));
        assert_eq!(ticks(79.0), (10.0, 80.0));
        assert_eq!(ticks(150.0), (20.0, 160.0));
    }
}
