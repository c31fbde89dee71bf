//! The machine and the program behind a measurement, so that figures can be judged later.

use std::fs;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Instructions that decide which crypto kernels run.
const FEATURES: [&str; 6] = ["avx2", "sha_ni", "aes", "vaes", "avx512f", "avx512ifma"];

/// Everything that is known: processor, cores, kernel, clock governor, memory, load, date, version
/// and command line. What the system does not say is null.
pub fn dump() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = field(&cpuinfo, "flags").unwrap_or_default();
    let has = |feature: &&str| flags.split_whitespace().any(|flag| flag == *feature);
    let features: Vec<_> = FEATURES.into_iter().filter(has).collect();
    let tiers = phix_engine::crypto::tiers();
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let load = read("/proc/loadavg");
    let load = load.as_deref().and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    json!({
        "cpu": field(&cpuinfo, "model name"),
        "cpu_family": field(&cpuinfo, "cpu family").and_then(|text| text.parse::<u32>().ok()),
        "cpu_model": field(&cpuinfo, "model").and_then(|text| text.parse::<u32>().ok()),
        "cpu_features": features,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "governor": governor,
        "kernel": read("/proc/sys/kernel/osrelease"),
        "memory": field(&meminfo, "MemTotal"),
        "load_average": load,
        "date": OffsetDateTime::now_utc().format(&Rfc3339).ok(),
        "version": env!("CARGO_PKG_VERSION"),
        "crypto": tiers.last().map(|kernels| kernels.name),
        "command": std::env::args().collect::<Vec<_>>(),
    })
}

/// One line for people: processor, cores, kernel, date.
pub fn line(environment: &Value) -> String {
    let text = |name: &str| environment[name].as_str().unwrap_or("?").to_owned();
    let features: Vec<&str> = environment["cpu_features"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (family, model) = (&environment["cpu_family"], &environment["cpu_model"]);
    format!(
        "{} (family {family}, model {model}; {}), {} cores, Linux {}, {}",
        text("cpu"),
        features.join(" "),
        environment["cores"],
        text("kernel"),
        text("date").get(..10).unwrap_or("?"),
    )
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let of_line = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let dump = dump();
        assert!(dump["cores"].as_u64().unwrap() >= 1);
        assert!(dump["kernel"].as_str().unwrap().contains('.'));
        assert!(dump["date"].as_str().unwrap().starts_with("20"));
        assert!(!dump["command"].as_array().unwrap().is_empty());
        let line = line(&dump);
        assert!(line.contains(" cores, Linux ") && !line.contains('?'), "{line}");
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(field(text, "model").as_deref(), Some("1"));
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "bogomips"), None);
    }
}
