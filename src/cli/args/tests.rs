//! The command line as people type it, and what `--help` promises.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    WeirArgs::try_parse_from(line.split_whitespace()).map(|args| args.command)
}

#[test]
fn the_definition_is_consistent() {
    WeirArgs::command().debug_assert();
}

#[test]
fn every_command_has_an_example() {
    for command in WeirArgs::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string);
        assert!(
            help.is_some_and(|text| text.contains("Example")),
            "`{}` has no example",
            command.get_name()
        );
    }
}

#[test]
fn every_command_to_a_simulator_has_an_example() {
    let args = WeirArgs::command();
    let sim = args.find_subcommand("sim").expect("there is `weir sim`");
    for command in sim.get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string);
        assert!(
            help.is_some_and(|text| text.contains("Example")),
            "`sim {}` has no example",
            command.get_name()
        );
    }
}

#[test]
fn what_one_would_type_is_understood() {
    for line in [
        "weir apply -f a.yaml -f b/ -R --dry-run -n prod",
        "weir diff -f -",
        "weir get stacks,machines -o wide -w -A",
        "weir get cws ims -o jsonpath={.metadata.name}",
        "weir describe machine ims-bono-0",
        "weir events ims -w",
        "weir watch ims --until ready --timeout 30m --plain",
        "weir delete stack ims --wait=false",
        "weir delete -f a.yaml",
        "weir scale ims sprout=3 bono=2",
        "weir pause ims --for 2h --why storage",
        "weir resume ims",
        "weir approve ims",
        "weir approve ims 3f2a9c01",
        "weir version -o json",
        "weir state export",
        "weir state export -o - --store etcd://127.0.0.1/weir",
        "weir state import weir.jsonl --state new",
        "weir state fsck -o json",
        "weir state backup monday --state state",
        "weir state export --reveal-secrets",
        "weir state rekey --new-key --remove-lost",
        "weir state rekey --store etcd://a --encryption-key-file keys",
        "weir completion zsh",
        "weir controller --state d --listen 127.0.0.1:0 --log json",
        "weir controller --store etcds://a,b:2379/weir --etcd-ca a --etcd-cert b --etcd-key c",
        "weir controller --store etcd://a --etcd-user weir --etcd-password-file p",
        "weir demo --exit --keep d --plain",
        "weir sim --listen 127.0.0.1:0 --profile slow --seed 7 --env-file e --state s",
        "weir sim --scenario bad-night --webhooks-to-loopback",
        "weir sim break stop-vm ims-sprout-0 --at http://127.0.0.1:1",
        "weir sim break",
        "weir sim fault add lost-reply command=createVPC count=2 probability=0.5",
        "weir sim fault list -o json --at http://127.0.0.1:1",
        "weir sim fault kinds",
        "weir sim fault clear",
        "weir sim fault clear 3",
        "weir sim operator add user=stranger rate=30 does=stop-vm,delete-tags until=1h",
        "weir sim operator list",
        "weir sim operator clear 1",
        "weir sim scenarios",
        "weir sim scenarios bad-night",
        "weir sim play bad-night",
        "weir sim play",
        "weir sim stop",
        "weir sim stop 2",
        "weir sim state -o json",
        "weir sim settings",
        "weir sim settings expunge.delay=60 profile=instant",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "weir apply",
        "weir get pods",
        "weir get stacks -o xml",
        "weir delete",
        "weir delete stack",
        "weir delete stack ims -f a.yaml",
        "weir scale ims",
        "weir scale ims sprout=-1",
        "weir scale ims proxy=1",
        "weir pause ims",
        "weir watch --timeout 3m",
        "weir completion powershell",
        "weir controller --etcd-user weir",
        "weir sim fault",
        "weir sim fault add",
        "weir sim fault clear all",
        "weir sim play a b",
        "weir sim --listen here",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_range_of_public_addresses_is_read_and_held_in_bounds() {
    let range = |range: &str| parse(&format!("weir sim --public-range {range}"));
    let refused = |word: &str| range(word).expect_err("no range").to_string();
    assert!(range("127.17.0.10-127.17.0.250").is_ok());
    assert!(refused("127.17.0.10").contains("write FIRST-LAST"));
    assert!(refused("127.17.0.10-x").contains("x is no IPv4 address"));
    assert!(refused("127.17.0.10-127.17.0.9").contains("127.17.0.9 comes before 127.17.0.10"));
    assert!(refused("127.0.0.0-127.255.0.0").contains("at most 65536 addresses"));
}
