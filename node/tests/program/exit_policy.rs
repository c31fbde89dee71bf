//! What `exit-policy check` answers, and what `check-config` says of a policy.

use std::fs;

use crate::common::{Node, done, phix, refused};

/// Exit code, standard output and standard error.
fn check(args: &[&str]) -> (i32, String, String) {
    let all = [&["exit-policy", "check"], args].concat();
    let output = phix(&all).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_exit_code_is_the_answer() {
    let (code, said, _) = check(&["8.8.8.8:443"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("8.8.8.8:443: accepted, by line ") && said.contains("accept *:443"));
    let (code, said, why) = check(&["8.8.8.8:25"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("8.8.8.8:25: refused, by line ") && said.contains("reject *:*"),
        "{said}"
    );
    assert!(why.contains("would not connect to 8.8.8.8, port 25"), "{why}");
    let (code, said, _) = check(&["[::ffff:169.254.169.254]:80"]);
    assert_eq!(code, 1);
    assert!(said.contains("169.254.169.254:80: refused") && said.contains("metadata"), "{said}");
    for wrong in ["8.8.8.8", "8.8.8.8:http", "2001:db8::1:80", ":80", "127.1:80", "a b:80", ""] {
        let (code, said, why) = check(&[wrong]);
        assert_eq!((code, said.as_str()), (2, ""), "{wrong}");
        assert!(why.contains("such as example.org:443"), "{wrong}: {why}");
    }
}

#[test]
fn the_policy_may_be_a_file_or_a_nodes() {
    let node = Node::with(&["--role", "exit", "--exit-private-targets", "10.0.0.0/8"]);
    let file = node.dir.join("policy.txt");
    fs::write(&file, "reject *:443\naccept *:*\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(check(&["8.8.8.8:443", "--policy", file]).0, 1);
    assert_eq!(check(&["8.8.8.8:25", "--policy", file]).0, 0);
    assert_eq!(check(&["10.0.0.1:443"]).0, 1);
    assert_eq!(check(&["10.0.0.1:443", "--dir", node.path()]).0, 0);
    assert_eq!(check(&["10.0.0.1:25", "--dir", node.path()]).0, 1);
    fs::write(file, "accept *:443\naccept *:seventy\n").unwrap();
    let (code, _, why) = check(&["8.8.8.8:443", "--policy", file]);
    assert_eq!(code, 2);
    assert!(why.contains("policy.txt, line 2: \"accept *:seventy\" is no rule"), "{why}");
    let config = |policy: &str| {
        node.phix("check-config", &["--exit-policy", policy, "--entry", "127.0.0.1:0"])
    };
    let table = done(&config("reduced").output().unwrap());
    assert!(table.contains("exit policy   the reduced one, "), "{table}");
    refused(&mut config("policy.txt"), &["policy.txt, line 2", "accept *:443"]);
    refused(&mut config("missing.txt"), &["missing.txt cannot be read", "exit-policy"]);
}
