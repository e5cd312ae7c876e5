"""Prints what a set of generated protobuf modules defines, as JSON: run by test_protocol.py on both sides.

Arguments: the modules' names. Runs on any protobuf from 3.20 on, so it imports nothing of pachgw itself.
"""

import importlib
import json
import sys

REPEATED = 3


def describe_message(message, found):
    fields = {}
    for field in message.fields:
        if hasattr(field, "is_repeated"):
            value = field.is_repeated
            repeated = value() if callable(value) else value
        else:
            repeated = field.label == REPEATED
        kind = field.message_type or field.enum_type
        fields[field.name] = {
            "number": field.number,
            "type": field.type,
            "repeated": bool(repeated),
            "of": kind.full_name if kind else None,
            "oneof": field.containing_oneof.name if field.containing_oneof else None,
        }
    found["messages"][message.full_name] = fields
    for nested in message.nested_types:
        describe_message(nested, found)
    for enum in message.enum_types:
        describe_enum(enum, found)


def describe_enum(enum, found):
    found["enums"][enum.full_name] = {value.name: value.number for value in enum.values}


def main(modules):
    found = {"messages": {}, "enums": {}, "services": {}}
    for name in modules:
        descriptor = importlib.import_module(name).DESCRIPTOR
        for message in descriptor.message_types_by_name.values():
            describe_message(message, found)
        for enum in descriptor.enum_types_by_name.values():
            describe_enum(enum, found)
        for service in descriptor.services_by_name.values():
            methods = {}
            proto = descriptor_proto(service)
            for method in proto.method:
                methods[method.name] = [
                    method.input_type,
                    method.output_type,
                    bool(method.client_streaming),
                    bool(method.server_streaming),
                ]
            found["services"][service.full_name] = methods
    json.dump(found, sys.stdout, indent=1, sort_keys=True)


def descriptor_proto(service):
    from google.protobuf import descriptor_pb2

    proto = descriptor_pb2.ServiceDescriptorProto()
    service.CopyToProto(proto)
    return proto


main(sys.argv[1:])
