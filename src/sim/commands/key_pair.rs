//! SSH key pairs, of which nothing is ever done with the private half.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use crate::sim::reply::ApiError;
use crate::sim::view;
use crate::sim::world::{KeyPair, Kind};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "registerSSHKeyPair",
        "name! publickey! account domainid:uuid projectid:uuid",
        register,
    ),
    sync(
        "createSSHKeyPair",
        "name! account domainid:uuid projectid:uuid",
        create,
    ),
    sync("listSSHKeyPairs", "id:uuid name fingerprint @owned", list),
    sync(
        "deleteSSHKeyPair",
        "name! account domainid:uuid projectid:uuid",
        delete,
    ),
];

fn add(call: &mut Call<'_>, public_key: String) -> Result<KeyPair, ApiError> {
    let name = call.required("name")?;
    let account = call.caller.account.clone();
    let mine = |pair: &&KeyPair| pair.account == account;
    if call
        .world
        .key_pairs
        .values()
        .filter(mine)
        .any(|pair| pair.name == name)
    {
        return Err(ApiError::value(format!(
            "A key pair with name '{name}' already exists."
        )));
    }
    if call
        .world
        .key_pairs
        .values()
        .filter(mine)
        .any(|pair| pair.public_key == public_key)
    {
        return Err(ApiError::value(
            "A key pair with this public key already exists.",
        ));
    }
    let pair = KeyPair {
        number: call.world.next_number(Kind::KeyPair),
        id: call.world.fresh_id(),
        fingerprint: fingerprint(&public_key),
        name,
        account,
        public_key,
    };
    call.world.key_pairs.insert(pair.id.clone(), pair.clone());
    Ok(pair)
}

/// What the server would read from base64: what does not belong there is passed over.
fn unpacked(text: &str) -> Vec<u8> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let mut digits: String = text
        .chars()
        .filter(|digit| digit.is_ascii_alphanumeric() || "+/".contains(*digit))
        .collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    GeneralPurpose::new(&STANDARD, lenient)
        .decode(digits)
        .unwrap_or_default()
}

/// The MD5 sum of the key itself, as `ssh-keygen -l -E md5` shows it and clients compute it.
fn fingerprint(public_key: &str) -> String {
    let (_, key) = public_key.split_once(' ').unwrap_or_default();
    let sum = Md5::digest(unpacked(key));
    let bytes: Vec<String> = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// The kind and the key without what follows, if this is a public key; it may be packed once more.
fn public_key(material: &str) -> Option<String> {
    const KINDS: [&str; 4] = ["ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp", "ssh-ed25519"];
    let material = if material.contains(' ') {
        material.to_owned()
    } else {
        String::from_utf8(unpacked(material)).ok()?
    };
    let mut words = material.split(' ');
    let kind = words.next()?;
    let key = words.next().filter(|key| !key.is_empty())?;
    let known = KINDS.iter().any(|known| kind.starts_with(known));
    known.then(|| format!("{kind} {key}"))
}

/// `registerSSHKeyPair`.
pub(crate) fn register(call: &mut Call<'_>) -> Answered {
    let material = call.required("publickey")?;
    let key = public_key(&material).ok_or_else(|| ApiError::value("Public key is invalid"))?;
    let pair = add(call, key)?;
    Ok(Answer::Object(
        json!({"keypair": view::key_pair(call.world, &pair)}),
    ))
}

/// `createSSHKeyPair`: the only time that a private key is shown, and here it opens nothing.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    let noise = call.world.chance.text(64);
    let pair = add(call, format!("ssh-rsa {noise}"))?;
    let mut row = view::key_pair(call.world, &pair);
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{noise}\n-----END RSA PRIVATE KEY-----\n");
    row.insert("privatekey".to_owned(), Value::from(key));
    Ok(Answer::Object(json!({"keypair": row})))
}

/// `listSSHKeyPairs`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    let mut pairs: Vec<&KeyPair> = call
        .world
        .key_pairs
        .values()
        .filter(|pair| call.sees(Some(&pair.account)))
        .filter(|pair| call.wants("id", Some(&pair.id)))
        .filter(|pair| call.wants("name", Some(&pair.name)))
        .filter(|pair| call.wants("fingerprint", Some(&pair.fingerprint)))
        .collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.number));
    call.page("sshkeypair", &pairs, |pair| {
        view::key_pair(call.world, pair)
    })
}

/// `deleteSSHKeyPair`, by name.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    let account = call.caller.account.clone();
    let before = call.world.key_pairs.len();
    call.world
        .key_pairs
        .retain(|_, pair| pair.account != account || pair.name != name);
    if call.world.key_pairs.len() == before {
        let account = view::account_name(call.world, &account);
        let text = format!(
            "A key pair with name '{name}' does not exist for account {account} in specified domain id"
        );
        return Err(ApiError::value(text));
    }
    Ok(Answer::success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_the_recorded_server_and_of_ssh_keygen() {
        for (key, told) in [
            (
                "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7",
                "04:c0:37:a9:a2:45:6e:01:5a:aa:64:52:12:a8:fb:2b",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICGPfRSDL7spGYzblaVM+//w6ZvuQD9BXy7ch8dF4QmU",
                "b8:b3:30:93:7e:7d:3f:5c:49:5d:36:1b:25:1e:1b:e7",
            ),
        ] {
            assert_eq!(fingerprint(key), told);
        }
    }

    #[test]
    fn a_key_is_known_by_its_kind_and_kept_without_its_comment() {
        let key = |material| public_key(material);
        assert_eq!(key("ssh-rsa AAAA me@here").as_deref(), Some("ssh-rsa AAAA"));
        assert_eq!(key("c3NoLXJzYSBBQUFBIG1l").as_deref(), Some("ssh-rsa AAAA"));
        for wrong in ["", " ", "ssh-rsa", "ssh-rsa  ", "rsa AAAA", "AAAA"] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
