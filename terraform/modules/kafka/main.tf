# Amazon MSK: a broker in each zone with a copy of each record, TLS only, reachable
# from the cluster's security group only.

resource "aws_security_group" "this" {
  name        = "${var.name}-kafka"
  description = "Kafka of ${var.name}: TLS from the cluster's pods"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-kafka" })
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = var.client_security_group_id
  description                  = "Kafka with TLS"
  ip_protocol                  = "tcp"
  from_port                    = 9094
  to_port                      = 9094
  tags                         = var.tags
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/msk/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_msk_configuration" "this" {
  # Another version is another configuration, which is there before this one goes.
  name           = "${var.name}-${replace(var.kafka_version, ".", "-")}"
  kafka_versions = [var.kafka_version]

  # `pacsless topics` makes the topics, with what differs of each. MSK lets a broker that
  # missed records lead unless it is told not to, and a gateway would never hear of it.
  server_properties = <<-PROPERTIES
    auto.create.topics.enable=false
    default.replication.factor=${min(3, length(var.subnet_ids))}
    min.insync.replicas=${length(var.subnet_ids) >= 3 ? 2 : 1}
    unclean.leader.election.enable=false
  PROPERTIES

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_msk_cluster" "this" {
  cluster_name           = var.name
  kafka_version          = var.kafka_version
  number_of_broker_nodes = length(var.subnet_ids)
  enhanced_monitoring    = "PER_TOPIC_PER_BROKER"
  tags                   = var.tags

  broker_node_group_info {
    client_subnets  = var.subnet_ids
    instance_type   = var.instance_type
    security_groups = [aws_security_group.this.id]

    storage_info {
      ebs_storage_info {
        volume_size = var.storage_gb
      }
    }
  }

  # Whoever is in the clients' security group is let in: Pacsless's clients speak TLS
  # and know no SASL.
  client_authentication {
    unauthenticated = true
  }

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = var.kms_key_arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.this.name
      }
    }
  }

  # Storage that was enlarged by hand or by a policy does not shrink.
  lifecycle {
    ignore_changes = [broker_node_group_info[0].storage_info[0].ebs_storage_info[0].volume_size]
  }
}
