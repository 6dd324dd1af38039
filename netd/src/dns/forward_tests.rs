use super::nameservers;

#[test]
fn only_nameserver_lines_count() {
    let text = "# nameserver 9.9.9.9\nsearch a.b\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\n\
                nameserver x\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
    let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
}
