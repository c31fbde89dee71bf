//! The file that says where packets may go: a topology, or a list of addresses.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use phix_client::files::words;
use phix_client::topology;
use phix_engine::egress::NextHops;

use crate::fault::Fault;
use crate::place::Place;

/// The next hops that the settings of `place` allow.
///
/// # Errors
/// If the file that they name cannot be read, or is neither a topology nor a list.
pub(crate) fn load(place: &Place) -> Result<NextHops, Fault> {
    let Some(path) = place.settings.next_hops.clone().get() else { return Ok(NextHops::Any) };
    let path = place.resolve(&path);
    let text = fs::read_to_string(&path).map_err(|error| {
        let why = words(&error);
        Fault::refused(format!(
            "{}, which next-hops names, cannot be read ({why}): put a topology file or a list of \
             addresses there, or set next-hops to any.",
            path.display(),
        ))
    })?;
    if text.trim_start().starts_with('{') {
        return of_topology(&path);
    }
    of_list(&path, &text)
}

fn of_topology(path: &Path) -> Result<NextHops, Fault> {
    let known = topology::load(path).map_err(|error| Fault::refused(format!("{error}.")))?;
    Ok(NextHops::only(known.form().node_details.values().map(|node| node.mix_host)))
}

/// One address and port in each line; what follows a `#` is a remark.
fn of_list(path: &Path, text: &str) -> Result<NextHops, Fault> {
    let mut known = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let address = line.split('#').next().unwrap_or_default().trim();
        if address.is_empty() {
            continue;
        }
        known.push(address.parse::<SocketAddr>().map_err(|_| {
            let (path, line) = (path.display(), number + 1);
            Fault::refused(format!(
                "{path}, line {line}: \"{address}\" is not an IP address and a port: write it like \
                 192.0.2.1:1789 or [2001:db8::1]:1789."
            ))
        })?);
    }
    if known.is_empty() {
        return Err(Fault::refused(format!(
            "{} names no address, so that every packet would be dropped: put the addresses of the \
             other nodes there, or set next-hops to any.",
            path.display(),
        )));
    }
    Ok(NextHops::only(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<NextHops, String> {
        of_list(Path::new("hops.txt"), text).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_list_has_an_address_in_each_line_and_remarks() {
        let hops = list("# ours\n192.0.2.1:1789\n\n  [2001:db8::1]:1789  # the other\n").unwrap();
        let known = ["192.0.2.1:1789", "[2001:db8::1]:1789"].map(|text| text.parse().unwrap());
        assert_eq!(hops, NextHops::only(known));
    }

    #[test]
    fn what_is_no_list_is_refused_by_line() {
        let error = list("192.0.2.1:1789\nexample.org:1789\n").unwrap_err();
        assert!(error.starts_with("hops.txt, line 2: \"example.org:1789\""), "{error}");
        assert!(list("# nobody\n").unwrap_err().contains("names no address"));
    }
}
