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
const MEASURED_WIDTH: f64 = 1.6;
/// Light and broad, and drawn first: the measured line lies on it where they agree.
const THEORY: &str = "#eda6af";
const THEORY_WIDTH: f64 = 6.0;
const GRID: &str = "#e3e3de";

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
        write!(svg, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}""#)?;
        write!(svg, r#" width="{WIDTH}" height="{HEIGHT}" font-size="13""#)?;
        writeln!(svg, r##" font-family="system-ui, sans-serif" fill="#333">"##)?;
        writeln!(svg, "<title>{}</title>", escape(self.title))?;
        writeln!(svg, r##"<rect width="100%" height="100%" fill="#fdfdfb"/>"##)?;
        text(svg, (LEFT, 32.0), r#"font-size="18" font-weight="600""#, self.title)?;
        text(svg, (LEFT, 54.0), r##"fill="#666""##, self.subtitle)?;
        axes(svg, scale, step)?;
        let theory = (0..=POINTS).map(|i| {
            let ms = scale.x_max * f64::from(i) / f64::from(POINTS);
            (ms, self.theory.cdf(ms))
        });
        curve(svg, scale, theory, (THEORY, THEORY_WIDTH))?;
        curve(svg, scale, empirical(sorted, scale.x_max), (MEASURED, MEASURED_WIDTH))?;
        self.legend(svg, sorted.len())?;
        svg.push_str("</svg>\n");
        Ok(())
    }

    fn legend(&self, svg: &mut String, count: usize) -> std::fmt::Result {
        let (x, y) = (WIDTH - RIGHT - 310.0, Scale::y(0.16));
        let (k, mean) = (self.theory.k(), self.theory.mean());
        let measured = format!("measured, {count} packets");
        let theory = format!("theory: Erlang, {k} delays of mean {mean} ms");
        line(svg, &format!("M{x} {y}h30"), (MEASURED, MEASURED_WIDTH))?;
        text(svg, (x + 40.0, y + 4.5), "", &measured)?;
        line(svg, &format!("M{x} {}h30", y + 24.0), (THEORY, THEORY_WIDTH))?;
        text(svg, (x + 40.0, y + 28.5), "", &theory)
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
    pen: (&str, f64),
) -> std::fmt::Result {
    let mut path = String::new();
    for ((ms, share), verb) in points.zip(std::iter::once('M').chain(std::iter::repeat('L'))) {
        write!(path, "{verb}{:.1} {:.1}", scale.x(ms), Scale::y(share))?;
    }
    line(svg, &path, pen)
}

/// An open line in the given colour and width.
fn line(svg: &mut String, path: &str, (colour, width): (&str, f64)) -> std::fmt::Result {
    write!(svg, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}""#)?;
    writeln!(svg, r#" stroke-linejoin="round"/>"#)
}

fn text(svg: &mut String, (x, y): (f64, f64), style: &str, content: &str) -> std::fmt::Result {
    writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" {style}>{}</text>"#, escape(content))
}

fn axes(svg: &mut String, scale: &Scale, step: f64) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tenth in (0..=10).step_by(2) {
        let y = Scale::y(f64::from(tenth) / 10.0);
        line(svg, &format!("M{LEFT} {y}H{right}"), (GRID, 1.0))?;
        let label = format!("{} %", tenth * 10);
        text(svg, (LEFT - 10.0, y + 4.5), r#"text-anchor="end""#, &label)?;
    }
    let centred = r#"text-anchor="middle""#;
    let count = (scale.x_max / step).round() as u32;
    for i in 0..=count {
        let ms = f64::from(i) * step;
        let x = scale.x(ms);
        line(svg, &format!("M{x:.1} {TOP}V{}", bottom + 6.0), (GRID, 1.0))?;
        // The rounding takes off what multiplication in binary adds to decimal steps.
        let label = (ms * 1e9).round() / 1e9;
        text(svg, (x, bottom + 22.0), centred, &label.to_string())?;
    }
    line(svg, &format!("M{LEFT} {TOP}V{bottom}H{right}"), ("#888", 1.0))?;
    let middle = f64::midpoint(LEFT, right);
    text(svg, (middle, HEIGHT - 18.0), centred, "end-to-end latency, ms")?;
    let (x, y) = (20.0, f64::midpoint(TOP, bottom));
    let turned = format!(r#"{centred} transform="rotate(-90 {x} {y})""#);
    text(svg, (x, y), &turned, "share of packets that arrived")
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
