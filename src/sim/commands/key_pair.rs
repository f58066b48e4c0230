//! SSH key pairs, of which nothing is ever done with the private half.

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
    let bytes: Vec<String> = (0..16)
        .map(|_| format!("{:02x}", call.world.chance.below(256)))
        .collect();
    let pair = KeyPair {
        number: call.world.next_number(Kind::KeyPair),
        id: call.world.fresh_id(),
        fingerprint: bytes.join(":"),
        name,
        account,
        public_key,
    };
    call.world.key_pairs.insert(pair.id.clone(), pair.clone());
    Ok(pair)
}

/// `registerSSHKeyPair`.
pub(crate) fn register(call: &mut Call<'_>) -> Answered {
    let key = call.required("publickey")?;
    let known = ["ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-"];
    if !known.iter().any(|kind| key.starts_with(kind)) {
        return Err(ApiError::value("Public key is invalid"));
    }
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
