//! The network as a page for people: nothing but this page is loaded, and nothing in it runs.

use std::fmt::Write as _;

use phix_proto::directory::NodeId;
use phix_proto::directory::epoch::{KeyRotationInfo, RewardedSet};
use phix_proto::directory::nodes::{Role, SemiSkimmed};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f23;background:#fff}h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}\
code{overflow-wrap:anywhere}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d8dee4}\
td.n,th.n{text-align:right}code{font-size:.85em}dl{display:grid;\
grid-template-columns:max-content 1fr;gap:.2rem 1.2rem}dd{margin:0}\
@media(prefers-color-scheme:dark){body{color:#d6dce3;background:#14181d}\
th,td{border-color:#30363d}}";

/// The page.
pub(super) fn render(
    info: &KeyRotationInfo,
    set: &RewardedSet,
    nodes: &[(SemiSkimmed, String)],
    requester: impl Fn(NodeId) -> Option<String>,
) -> String {
    let mut page = String::with_capacity(2_048 + 400 * nodes.len());
    head(&mut page, info, set, nodes.len());
    page.push_str(
        "<table><thead><tr><th class=n>Node<th>Role in this epoch<th class=n>Performance<th>Address\
         <th>Identity<th>Software<th>Network requester</tr></thead><tbody>\n",
    );
    for (node, software) in nodes {
        row(&mut page, node, software, &requester(node.basic.node_id).unwrap_or_default());
    }
    page.push_str("</tbody></table></html>\n");
    page
}

fn head(page: &mut String, info: &KeyRotationInfo, set: &RewardedSet, nodes: usize) {
    let KeyRotationInfo { current_absolute_epoch_id: epoch, epoch_duration, progress, .. } = info;
    let begun = info.current_epoch_start.replace_nanosecond(0).unwrap_or(info.current_epoch_start);
    let layers = set.layers().map(Vec::len);
    writeln!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>Network</title>\
         <style>{STYLE}</style><h1>Network</h1><dl>\
         <dt>Epoch<dd>{epoch}, since {begun}, for {} s\
         <dt>Key rotation<dd>{}, epochs {} to {}\
         <dt>Nodes<dd>{nodes}\
         <dt>Entry gateways<dd>{}<dt>Mix layers<dd>{}, {}, {}<dt>Exit gateways<dd>{}\
         <dt>For programs<dd><a href=openapi.json>openapi.json</a></dl>",
        epoch_duration.as_secs_f32(),
        progress.current_key_rotation_id,
        progress.current_rotation_starting_epoch,
        progress.current_rotation_ending_epoch,
        set.entry_gateways.len(),
        layers[0],
        layers[1],
        layers[2],
        set.exit_gateways.len(),
    )
    .expect("writing to a string cannot fail");
}

fn row(page: &mut String, node: &SemiSkimmed, software: &str, requester: &str) {
    let basic = &node.basic;
    let role = match basic.role {
        Role::Mixnode { layer } => format!("mix node, layer {layer}"),
        Role::EntryGateway => "entry gateway".to_owned(),
        Role::ExitGateway => "exit gateway".to_owned(),
        Role::Standby => "stands by".to_owned(),
        Role::Inactive => "none".to_owned(),
    };
    let address = basic.mix_host().map(|address| address.to_string()).unwrap_or_default();
    writeln!(
        page,
        "<tr><td class=n>{}<td>{role}<td class=n>{:.1} %<td><code>{address}</code>\
         <td><code>{}</code><td>{}<td><code>{}</code></tr>",
        basic.node_id,
        basic.performance.share() * 100.0,
        basic.ed25519_identity_pubkey,
        escaped(software),
        escaped(requester),
    )
    .expect("writing to a string cannot fail");
}

/// What a stranger wrote, as text and nothing else.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_write_is_text() {
        assert_eq!(
            escaped("<script>alert('1')</script> & \"x\""),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;"
        );
    }
}
