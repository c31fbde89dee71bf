//! Addresses of clients and tags of senders.

use nym_sphinx::addressing::clients::Recipient as StockRecipient;
use nym_sphinx::anonymous_replies::requests::AnonymousSenderTag;
use phix_proto::message::{Recipient, RecipientError, SenderTag};

use crate::world::{Client, GATEWAYS, rng};

#[test]
fn addresses_are_written_and_read_as_stock_clients_do() {
    for seed in 0..50 {
        let client = Client::new(seed, GATEWAYS[0]);
        let text = client.recipient.to_string();
        assert_eq!(text, client.stock_recipient.to_string());
        assert_eq!(text.parse(), Ok(client.recipient));
        assert_eq!(client.recipient.to_bytes(), client.stock_recipient.to_bytes());
        assert!(StockRecipient::try_from_base58_string(&text).unwrap() == client.stock_recipient);
    }
}

#[test]
fn what_is_no_address_is_one_for_neither() {
    let client = Client::new(1, GATEWAYS[0]);
    let text = client.recipient.to_string();
    let (identity, rest) = text.split_once('.').unwrap();
    let (encryption, gateway) = rest.split_once('@').unwrap();
    let short = bs58::encode([2; 31]).into_string();
    for (text, error) in [
        (String::new(), RecipientError::Parts),
        (format!("{identity}.{encryption}"), RecipientError::Parts),
        (format!("{identity}@{gateway}"), RecipientError::Parts),
        (format!("0OIl.{encryption}@{gateway}"), RecipientError::Identity),
        (format!("{short}.{encryption}@{gateway}"), RecipientError::Identity),
        (format!("{identity}.{short}@{gateway}"), RecipientError::Encryption),
        (format!("{identity}.{encryption}.{encryption}@{gateway}"), RecipientError::Encryption),
        (format!("{identity}.{encryption}@{short}"), RecipientError::Gateway),
        (format!("{identity}.{encryption}@{gateway}@{gateway}"), RecipientError::Gateway),
        (format!("{identity}.{encryption}@{gateway} "), RecipientError::Gateway),
    ] {
        assert_eq!(text.parse::<Recipient>(), Err(error), "{text}");
        assert!(StockRecipient::try_from_base58_string(&text).is_err(), "{text}");
    }
}

/// Half of all numbers are no point of the curve.
#[test]
fn points_off_the_curve_are_refused_as_stock_clients_refuse_them() {
    let own = Client::new(1, GATEWAYS[0]).recipient.to_bytes();
    let mut refused = 0;
    for first in 0..=255 {
        for part in [0, 64] {
            let mut bytes = own;
            bytes[part..part + 32].fill(first);
            let ours = Recipient::from_bytes(&bytes);
            assert_eq!(ours.is_ok(), StockRecipient::try_from_bytes(bytes).is_ok(), "{first}");
            refused += u32::from(ours.is_err());
        }
    }
    assert!(refused > 100);
}

#[test]
fn sender_tags_are_written_as_stock_clients_write_them() {
    let tag = SenderTag::random(&mut rng(1));
    let stock = AnonymousSenderTag::from_bytes(tag.to_bytes());
    assert_eq!(tag.to_string(), stock.to_string());
    assert_eq!(stock.to_string().parse(), Ok(tag));
}
